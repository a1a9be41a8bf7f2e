/** A Python environment with the official clients, made on demand outside the repository. */
import { execFile } from 'node:child_process'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { cacheDir } from '../../src/setup/paths.mjs'

const packages = ['openai==3.54.0', 'anthropic==2.12.0']
const execute = promisify(execFile)

/** @returns the path of its Python */
export async function pythonWithClients(): Promise<string> {
  const folder = join(cacheDir(), 'test-clients')
  const python = join(folder, 'bin', 'python')
  const done = join(folder, 'done')
  if (existsSync(done)) return python
  rmSync(folder, { recursive: true, force: true })
  await execute('python3', ['-m', 'venv', folder])
  await execute(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages])
  writeFileSync(done, packages.join('\n'))
  return python
}
