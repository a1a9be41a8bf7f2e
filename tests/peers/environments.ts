/**
 * The Python environments of the tools that read and write the same files. Each is made once, under the cache
 * folder and outside the repository; SHADOW_PEERS_PYTHON and SHADOW_PEERS_MLX name interpreters that are there.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { cacheDir, privateDir } from '../../src/setup/paths.mjs'

const environments = {
  peft: {
    variable: 'SHADOW_PEERS_PYTHON',
    packages: [
      'torch==2.15.0',
      'transformers==5.23.0',
      'peft==0.21.2',
      'gguf==0.19.0',
      'llama-cpp-python==0.3.36',
    ],
    size: '6 GB',
  },
  'mlx-lm': { variable: 'SHADOW_PEERS_MLX', packages: ['mlx-lm==0.32.2', 'mlx[cpu]'], size: '0.4 GB' },
} as const

export type PeerEnvironment = keyof typeof environments

/** The interpreter of an environment; makes it where that has not been done, which takes minutes. */
export function peerPython(name: PeerEnvironment): string {
  const { variable, packages, size } = environments[name]
  const given = process.env[variable]
  if (given !== undefined) return given
  const folder = join(privateDir(join(cacheDir(), 'peers')), name)
  const python = join(folder, 'bin', 'python')
  if (existsSync(python)) return python
  process.stderr.write(`Installing ${packages.join(', ')} (${size}) under ${folder}\n`)
  const fresh = `${folder}.new`
  rmSync(fresh, { recursive: true, force: true })
  execFileSync('python3', ['-m', 'venv', fresh], { stdio: 'inherit' })
  const pip = [join(fresh, 'bin', 'python'), '-m', 'pip', 'install', '--quiet', ...packages] as const
  execFileSync(pip[0], pip.slice(1), { stdio: 'inherit' })
  renameSync(fresh, folder)
  return python
}
