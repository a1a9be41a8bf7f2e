/** The Python that the peers run on: `SHADOW_BENCH_PYTHON`, or an environment made once under the cache folder. */
import { execFileSync } from 'node:child_process'
import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cacheDir, privateDir } from '../../src/setup/paths.mjs'

/** The path of a script beside this file. */
export function peerScript(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url))
}

/** The interpreter; makes its environment first, which takes minutes and about 6 GB. */
export function peerPython(): string {
  const given = process.env['SHADOW_BENCH_PYTHON']
  if (given !== undefined) return given
  const folder = join(privateDir(join(cacheDir(), 'bench')), 'python')
  const python = join(folder, 'bin', 'python')
  if (existsSync(python)) return python
  console.log(`Installing PyTorch, TRL, PEFT and llama.cpp under ${folder}`)
  const fresh = `${folder}.new`
  rmSync(fresh, { recursive: true, force: true })
  execFileSync('python3', ['-m', 'venv', fresh], { stdio: 'inherit' })
  execFileSync(
    join(fresh, 'bin', 'python'),
    ['-m', 'pip', 'install', '--quiet', '--requirement', peerScript('requirements.txt')],
    { stdio: 'inherit' },
  )
  renameSync(fresh, folder)
  return python
}
