import { execFileSync } from 'node:child_process'
import { packageRoot } from '../../src/setup/paths.mjs'

/** Runs examples/engine on a model. @returns what it prints */
export function runExample(model: string, outFolder: string): string {
  const args = ['src/setup/bootstrap.mjs', 'examples/engine/main.ts', model, outFolder]
  return execFileSync(process.execPath, args, { cwd: packageRoot(), encoding: 'utf8', stdio: 'pipe' })
}
