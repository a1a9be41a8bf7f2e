/**
 * The native engine on this machine: MLX and OpenBLAS under `<cache>/engine/parts`, and the addon compiled
 * from `src/engine/native` under `<cache>/engine/builds/<fingerprint>/shadow_engine.node`. The fingerprint
 * covers everything the binary depends on, so looking it up is a hash and one `stat`.
 */
import { createHash } from 'node:crypto'
import {
  existsSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism, cpus } from 'node:os'
import { basename, delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compileCommand, instructionSets } from '../engine/native/build-flags.mjs'
import { run } from './command.mjs'
import { chooseDevice } from './devices.mjs'
import { sizeOf, withTempDir } from './files.mjs'
import { withLock } from './lock.mjs'
import { cacheDir, privateDir } from './paths.mjs'
import { requireEngineTools } from './prerequisites.mjs'
import { silentProgress } from './progress.mjs'
import { installWheel, platformWheels } from './wheels.mjs'

const addonName = 'shadow_engine.node'
const nativeDir = join(dirname(fileURLToPath(import.meta.url)), '..', 'engine', 'native')
const keptBuilds = 6

/**
 * The compiled addon for the sources beside this file, this machine and this compiler.
 * @returns {string | undefined} its path; undefined if {@link ensureEngine} has to run first
 */
export function resolveAddonPath() {
  const path = addonPath()
  return existsSync(path) ? path : undefined
}

/**
 * Fetches the engine's parts and compiles the addon where that has not been done, and returns the addon's
 * path. Safe to call from several processes at once.
 * @param {{ progress?: import('./progress.mjs').Progress }} [options]
 * @returns {Promise<string>}
 * @throws {import('./failure.mjs').SetupFailure} one sentence that says what to install or check
 */
export async function ensureEngine({ progress = silentProgress } = {}) {
  // Only where one is named: a probe takes longer than all else here.
  if (process.env['SHADOW_DEVICE']) chooseDevice()
  const path = addonPath()
  if (existsSync(path)) {
    touch(dirname(path))
    return path
  }
  return withLock('engine', async () => {
    if (existsSync(path)) return path
    const { compiler } = requireEngineTools()
    const { mlx, openblas } = platformWheels()
    const missing = [mlx, ...(openblas === undefined ? [] : [openblas])].filter(
      (wheel) => !existsSync(partDir(wheel)),
    )
    if (missing.length > 0)
      await progress.step('engine parts', async () => {
        await Promise.all(missing.map((wheel) => installWheel(wheel, partDir(wheel))))
        return {
          detail: missing.map((wheel) => `${wheel.name} ${wheel.version}`).join(', '),
          bytes: missing.reduce((total, wheel) => total + sizeOf(partDir(wheel)), 0),
        }
      })
    await progress.step('engine addon', async () => {
      await compile(compiler.command, path)
      return { detail: `compiled with ${compiler.version}` }
    })
    removeOldBuilds(dirname(path))
    return path
  })
}

/**
 * Where an unpacked wheel lies, whether or not it is there.
 * @param {import('./wheels.mjs').Wheel} wheel
 * @returns {string}
 */
export function partDir(wheel) {
  return join(cacheDir(), 'engine', 'parts', `${wheel.name}-${wheel.version}`)
}

function addonPath() {
  return join(cacheDir(), 'engine', 'builds', fingerprint(), addonName)
}

/** @returns {string} 16 hex digits over sources, flags, parts, processor and compiler */
function fingerprint() {
  const hash = createHash('sha256')
  for (const name of readdirSync(nativeDir).toSorted()) {
    if (!/\.(cpp|h|hpp|mm)$/.test(name)) continue
    hash.update(`${name}\0`).update(readFileSync(join(nativeDir, name)))
  }
  // Without the header folders: a clone and an installed package of one version share a build.
  hash.update(JSON.stringify(compileCommand(flags([], [], ''))))
  for (const { version } of headerPackages()) hash.update(`${version}\0`)
  hash.update(JSON.stringify(compilerIdentity()))
  hash.update(processorFlags())
  return hash.digest('hex').slice(0, 16)
}

/**
 * What build-flags.mjs is told, but for the compiler, which may be several words.
 * @param {string[]} sources
 * @param {string[]} includeDirs
 * @param {string} output
 */
function flags(sources, includeDirs, output) {
  const { mlx, openblas } = platformWheels()
  return {
    compiler: 'c++',
    sources,
    includeDirs: [...includeDirs, join(partDir(mlx), 'mlx', 'include')],
    mlxLibDir: join(partDir(mlx), 'mlx', 'lib'),
    openblasLibDir: openblas === undefined ? '' : join(partDir(openblas), 'scipy_openblas32', 'lib'),
    output,
    instructions: instructionSet().flags,
  }
}

/**
 * What the addon is compiled for: all that this processor has, or what `SHADOW_ENGINE_INSTRUCTIONS` names. A name that
 * this processor or this version does not know falls back, and `missing` says why.
 * @returns {{ name: string, flags: string[], missing?: string }}
 */
export function instructionSet() {
  const wanted = process.env['SHADOW_ENGINE_INSTRUCTIONS'] || 'native'
  const fallback = { name: 'native', flags: instructionSets['native']?.flags ?? [] }
  const set = instructionSets[wanted]
  if (set === undefined)
    return { ...fallback, missing: `${wanted} is none of ${Object.keys(instructionSets).join(', ')}` }
  const present = new Set(processorFlags().split(/\s+/))
  const missing = set.needs.filter((flag) => !present.has(flag))
  if (missing.length > 0)
    return { ...fallback, missing: `${wanted} needs ${missing.join(', ')}, which this processor lacks` }
  return { name: wanted, flags: set.flags }
}

/**
 * @param {string[]} sources
 * @param {string[]} compiler
 * @param {string} output
 * @returns {string[]}
 */
function command(sources, compiler, output) {
  const includeDirs = headerPackages().map(({ include }) => include)
  return [...compiler, ...compileCommand(flags(sources, includeDirs, output)).slice(1)]
}

/** The two packages with Node-API's headers. */
function headerPackages() {
  const require = createRequire(import.meta.url)
  return [
    { name: 'node-addon-api', folder: '.' },
    { name: 'node-api-headers', folder: 'include' },
  ].map(({ name, folder }) => {
    const manifest = require.resolve(`${name}/package.json`)
    /** @type {{ version: string }} */
    const { version } = JSON.parse(readFileSync(manifest, 'utf8'))
    return { version, include: join(dirname(manifest), folder) }
  })
}

/**
 * Compiles each source to an object at the same time, links them, and moves the result into place.
 * @param {string[]} compiler
 * @param {string} target
 */
async function compile(compiler, target) {
  await withTempDir(async (dir) => {
    const sources = readdirSync(nativeDir)
      .filter((name) => /\.(cpp|mm)$/.test(name))
      .toSorted()
    const failure = 'The engine could not be compiled; `shadow doctor` shows the compiler that was used.'
    const waiting = sources.map((name) => ({ source: join(nativeDir, name), object: join(dir, `${name}.o`) }))
    const objects = waiting.map(({ object }) => object)
    const worker = async () => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        const whole = command([next.source], compiler, next.object)
        await run([...whole.filter((word) => !/^-(l|L|Wl,|shared$|framework$)/.test(word)), '-c'], {
          failure,
        })
      }
    }
    await Promise.all(Array.from({ length: Math.min(availableParallelism(), sources.length) }, worker))
    const built = privateDir(join(dir, 'built'))
    await run(command(objects, compiler, join(built, addonName)), { failure })
    privateDir(dirname(dirname(target)))
    rmSync(dirname(target), { recursive: true, force: true })
    renameSync(built, dirname(target))
  })
}

/**
 * What tells one compiler from another without starting it: its name, and the file behind it.
 * @returns {(string | number)[]}
 */
function compilerIdentity() {
  const names = process.env['CXX'] ? [process.env['CXX'].trim()] : ['g++', 'clang++']
  for (const name of names) {
    const program = name.split(/\s+/)[0] ?? name
    const folders = program.includes('/') ? [''] : (process.env['PATH'] ?? '').split(delimiter)
    for (const folder of folders) {
      const stat = statSync(join(folder, program), { throwIfNoEntry: false })
      if (stat?.isFile()) return [name, realpathSync(join(folder, program)), stat.size, stat.mtimeMs]
    }
  }
  return []
}

/** The instruction sets that `-march=native` may use. */
function processorFlags() {
  try {
    const info = readFileSync('/proc/cpuinfo', 'utf8')
    return /^(?:flags|Features)\s*:.*$/m.exec(info)?.[0] ?? ''
  } catch {
    return cpus()[0]?.model ?? ''
  }
}

/** @param {string} current */
function removeOldBuilds(current) {
  const parent = dirname(current)
  const others = readdirSync(parent)
    .filter((name) => name !== basename(current))
    .map((name) => ({ path: join(parent, name), usedMs: statSync(join(parent, name)).mtimeMs }))
    .toSorted((a, b) => b.usedMs - a.usedMs)
  for (const { path } of others.slice(keptBuilds - 1)) rmSync(path, { recursive: true, force: true })
}

/** @param {string} path */
function touch(path) {
  const now = new Date()
  utimesSync(path, now, now)
}
