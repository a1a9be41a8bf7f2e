/** What `shadow doctor` looks at on this machine: what was found, whether it suffices, what to do if not. */
import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { availableParallelism, cpus, freemem, totalmem } from 'node:os'
import { chooseDevice } from './devices.mjs'
import { partDir, resolveAddonPath } from './engine.mjs'
import { SetupFailure } from './failure.mjs'
import { defaultModelName, defaultModelPath, hasDefaultModel } from './model.mjs'
import { pinnedNode, pinnedNodeMissing } from './node.mjs'
import { cacheDir } from './paths.mjs'
import {
  findCompiler,
  findNpm,
  findPip,
  findPython,
  glibcSuffices,
  glibcVersion,
  hints,
  minimumNodeMajor,
} from './prerequisites.mjs'
import { formatBytes } from './progress.mjs'
import { platformWheels } from './wheels.mjs'

/**
 * @typedef {object} Finding
 * @property {string} name
 * @property {string} found in words
 * @property {boolean} ok
 * @property {string} [hint] what to do; present where something is missing or could be better
 */

const neededMemoryBytes = 3e9
const neededDiskBytes = 1e9
const setUp = 'Run `shadow setup` (in a clone: `npm test` or `npm run demo`).'

/**
 * Looks at everything that the set-up and the engine need. Changes nothing and never fails: what is missing
 * is a finding.
 * @returns {Promise<Finding[]>}
 */
export async function probeMachine() {
  const glibc =
    process.platform === 'linux' ? [finding('glibc', glibcVersion(), glibcSuffices, hints.glibc)] : []
  return [
    finding(
      'node',
      process.versions.node,
      (version) => Number(version?.split('.')[0]) >= minimumNodeMajor,
      hints.node,
    ),
    finding('pinned node', pinnedNode(), isPresent, pinnedNodeMissing),
    finding('npm', findNpm(), isPresent, hints.npm),
    finding('compiler', findCompiler()?.version, isPresent, hints.compiler),
    ...glibc,
    finding('pip', findPip()?.version, isPresent, hints.pip),
    finding('python', findPython()?.join(' '), isPresent, hints.python),
    ...engineFindings(),
    { name: 'device', found: device(), ok: true },
    accelerator(),
    memory(),
    disk(),
    finding(
      'model',
      hasDefaultModel() ? `${defaultModelName} in ${defaultModelPath()}` : undefined,
      isPresent,
      setUp,
    ),
  ]
}

/** @returns {Finding[]} */
function engineFindings() {
  const supported = `${process.platform}-${process.arch}`
  let wheels
  try {
    wheels = platformWheels()
  } catch {
    return [{ name: 'backend', found: `none for ${supported}`, ok: false, hint: hints.platform }]
  }
  const { mlx, openblas } = wheels
  /** @param {import('./wheels.mjs').Wheel} wheel */
  const part = (wheel) => (existsSync(partDir(wheel)) ? `${wheel.name} ${wheel.version}` : undefined)
  return [
    finding(
      'backend',
      part(mlx) && `${process.platform === 'darwin' ? 'metal' : 'cpu'} (${part(mlx)})`,
      isPresent,
      setUp,
    ),
    finding('blas', openblas === undefined ? 'Accelerate' : part(openblas), isPresent, setUp),
    finding('engine', resolveAddonPath(), isPresent, setUp),
  ]
}

/** @returns {string} processor, cores, and the instruction sets that the kernels care about */
function device() {
  const model = cpus()[0]?.model.trim() ?? process.arch
  const known = ['avx2', 'avx512f', 'avx512_bf16', 'asimd', 'bf16']
  const flags = readFlags()
  const sets = known.filter((name) => flags.includes(name))
  return [model, `${availableParallelism()} cores`, ...sets].join(', ')
}

/**
 * What is computed on and why, with everything that probing failed with.
 * @returns {Finding}
 */
function accelerator() {
  try {
    const { device, reason, failures } = chooseDevice()
    const found = [`${device} (${reason})`, ...failures].join('; ')
    if (failures.length === 0) return { name: 'computes on', found, ok: true }
    return {
      name: 'computes on',
      found,
      ok: true,
      hint: 'Mend the GPU driver, or leave it: the processor computes.',
    }
  } catch (thrown) {
    if (!(thrown instanceof SetupFailure)) throw thrown
    return { name: 'computes on', found: 'nothing', ok: false, hint: thrown.message }
  }
}

/** @returns {string[]} */
function readFlags() {
  try {
    const line = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))
    return (line?.[1] ?? '').trim().split(/\s+/)
  } catch {
    return []
  }
}

/** @returns {Finding} */
function memory() {
  const limit = process.constrainedMemory() || Number.POSITIVE_INFINITY
  const total = Math.min(totalmem(), limit)
  const free = Math.min(freemem(), total)
  return {
    name: 'memory',
    found: `${formatBytes(free)} of ${formatBytes(total)} free`,
    ok: free >= neededMemoryBytes,
    ...(free < neededMemoryBytes && {
      hint: `Training the default model takes up to ${formatBytes(neededMemoryBytes)}: close other programs or use smaller micro-batches.`,
    }),
  }
}

/** @returns {Finding} */
function disk() {
  const { bavail, bsize } = statfsSync(cacheDir())
  const free = bavail * bsize
  const ok = free >= neededDiskBytes
  const hint = `Shadow's engine and model take up to ${formatBytes(neededDiskBytes)}: free some, or set SHADOW_CACHE to another disk.`
  return { name: 'disk', found: `${formatBytes(free)} free for ${cacheDir()}`, ok, ...(!ok && { hint }) }
}

/**
 * @param {string} name
 * @param {string | undefined} found
 * @param {(found: string | undefined) => boolean} suffices
 * @param {string} hint
 * @returns {Finding}
 */
function finding(name, found, suffices, hint) {
  const ok = suffices(found)
  return { name, found: found ?? 'not found', ok, ...(!ok && { hint }) }
}

/** @param {string | undefined} found */
function isPresent(found) {
  return found !== undefined
}
