/**
 * `npm run test:cuda-link`: the addon's sources against MLX's CUDA wheel (90 MB, fetched once, outside the
 * repository). No GPU and no CUDA are needed: everything compiles with the wheel's headers, links with its library,
 * and every name that the addon takes from MLX is one that this library has. Linux x64.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { compileCommand } from '../../src/engine/native/build-flags.mjs'
import { instructionSet, partDir } from '../../src/setup/engine.mjs'
import { packageRoot } from '../../src/setup/paths.mjs'
import { cudaWheel, installWheel, platformWheels } from '../../src/setup/wheels.mjs'

const target = partDir(cudaWheel)
if (!existsSync(target)) await installWheel(cudaWheel, target)
const { openblas } = platformWheels()
const require = createRequire(import.meta.url)
const headers = [
  dirname(require.resolve('node-addon-api/package.json')),
  join(dirname(require.resolve('node-api-headers/package.json')), 'include'),
  join(target, 'mlx', 'include'),
]
const mlxLibDir = join(target, 'mlx', 'lib')
const nativeDir = join(packageRoot(), 'src', 'engine', 'native')
const folder = mkdtempSync(join(tmpdir(), 'shadow-cuda-'))
const flags = (sources: string[], output: string): string[] =>
  compileCommand({
    compiler: 'g++',
    sources,
    includeDirs: headers,
    mlxLibDir,
    openblasLibDir: openblas === undefined ? '' : join(partDir(openblas), 'scipy_openblas32', 'lib'),
    output,
    instructions: instructionSet().flags,
  })

try {
  const sources = readdirSync(nativeDir).filter((name) => name.endsWith('.cpp'))
  const objects = sources.map((name) => {
    const object = join(folder, `${name}.o`)
    const whole = flags([join(nativeDir, name)], object).filter(
      (word) => !/^-(l|L|Wl,|shared$|O3$)/.test(word),
    )
    const [compiler = 'g++', ...args] = whole
    execFileSync(compiler, [...args, '-O1', '-c'], { stdio: 'inherit' })
    process.stdout.write(`${name} compiles\n`)
    return object
  })
  const addon = join(folder, 'shadow_engine.node')
  const [linker = 'g++', ...args] = flags(objects, addon)
  execFileSync(linker, args, { stdio: 'inherit' })
  const names = (...options: string[]): Set<string> => {
    const listed = execFileSync('nm', ['-D', ...options], { maxBuffer: 2 ** 28 }).toString()
    return new Set(listed.split('\n').map((line) => line.trim().split(/\s+/).at(-1) ?? ''))
  }
  const there = names('--defined-only', join(mlxLibDir, 'libmlx.so'))
  const own = names('--defined-only', addon)
  const wanted = [...names('--undefined-only', addon)].filter((name) => name.includes('3mlx4core'))
  const missing = wanted.filter((name) => !there.has(name) && !own.has(name))
  if (missing.length > 0) throw new Error(`The library has no ${missing.join(', ')}`)
  process.stdout.write(
    `links with ${cudaWheel.name} ${cudaWheel.version}: ${wanted.length} names of MLX, none missing\n`,
  )
} finally {
  rmSync(folder, { recursive: true })
}
