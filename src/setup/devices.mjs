/**
 * The devices that MLX computes on, and everything in which they differ here. Which one this machine has is found
 * by probing; SHADOW_DEVICE names another. What a probe fails with is passed on, never swallowed.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { SetupFailure } from './failure.mjs'

/** @typedef {'cpu' | 'cuda' | 'metal'} DeviceName */

/**
 * @typedef {object} Capabilities
 * @property {string} wheel the package with MLX's library for it; for CUDA the driver decides between -12 and -13
 * @property {boolean} computes this engine's operations run on it
 * @property {boolean} ownKernels the addon's own kernels, rather than MLX's operations
 * @property {boolean} openblas products of matrices go to OpenBLAS
 * @property {string} checked how far this has been tried
 */

/** @type {Readonly<Record<DeviceName, Capabilities>>} */
export const devices = {
  cpu: {
    wheel: 'mlx-cpu',
    computes: true,
    ownKernels: true,
    openblas: true,
    checked: 'every test runs on it',
  },
  metal: {
    wheel: 'mlx-metal',
    computes: true,
    ownKernels: true,
    openblas: false,
    checked: 'not tried: no such machine was at hand; the fused operations run on its processor',
  },
  cuda: {
    wheel: 'mlx-cuda-12',
    computes: false,
    ownKernels: false,
    openblas: true,
    checked:
      'the addon compiles and links against the wheel (npm run test:cuda-link); the fused operations have no CUDA form',
  },
}

/**
 * @typedef {object} Choice
 * @property {DeviceName} device
 * @property {string} reason why, in words
 * @property {string[]} failures what probes failed with
 */

/**
 * @typedef {object} Machine
 * @property {NodeJS.Platform} platform
 * @property {string} arch
 * @property {NodeJS.ProcessEnv} env
 * @property {() => { found?: string, failure?: string }} cuda the name of a CUDA device, or what its driver says
 */

/** @type {Machine} */
const thisMachine = {
  platform: process.platform,
  arch: process.arch,
  env: process.env,
  cuda: probeCuda,
}

/**
 * The device to compute on.
 * @param {Machine} [machine]
 * @returns {Choice}
 * @throws {SetupFailure} for a SHADOW_DEVICE that is none, is not here, or that this engine does not compute on
 */
export function chooseDevice(machine = thisMachine) {
  const { platform, arch, env, cuda } = machine
  const isApple = platform === 'darwin' && arch === 'arm64'
  const wanted = env['SHADOW_DEVICE']?.toLowerCase()
  if (wanted !== undefined && wanted !== '' && wanted !== 'auto') {
    const device = isDeviceName(wanted) ? wanted : undefined
    if (device === undefined)
      throw new SetupFailure(
        `SHADOW_DEVICE is ${wanted}; it may be ${['auto', ...Object.keys(devices)].join(', ')}.`,
      )
    if (device === 'metal' && !isApple)
      throw new SetupFailure('SHADOW_DEVICE is metal, which needs a Mac with Apple silicon.')
    if (!devices[device].computes)
      throw new SetupFailure(
        `SHADOW_DEVICE is ${device}, on which this engine does not compute yet. Leave it out to use the processor.`,
      )
    return { device, reason: 'SHADOW_DEVICE names it', failures: [] }
  }
  if (isApple) return { device: 'metal', reason: 'Apple silicon', failures: [] }
  const { found, failure } = cuda()
  const failures = failure === undefined ? [] : [`CUDA: ${failure}`]
  if (found === undefined) return { device: 'cpu', reason: 'no GPU was found', failures }
  if (devices.cuda.computes) return { device: 'cuda', reason: found, failures }
  return { device: 'cpu', reason: `${found} is here, but this engine does not compute on CUDA yet`, failures }
}

/** @param {string} name @returns {name is DeviceName} */
function isDeviceName(name) {
  return Object.hasOwn(devices, name)
}

/** Asks NVIDIA's driver where there is one. */
function probeCuda() {
  const { status, stdout, stderr, error } = spawnSync(
    'nvidia-smi',
    ['--query-gpu=name,driver_version', '--format=csv,noheader'],
    { encoding: 'utf8', timeout: 10_000 },
  )
  const [line = ''] = (stdout ?? '').trim().split('\n')
  if (status === 0 && line !== '') return { found: line }
  const hasDriver = existsSync('/proc/driver/nvidia/version') || existsSync('/dev/nvidiactl')
  const isMissing = error !== undefined && 'code' in error && error.code === 'ENOENT'
  if (isMissing) return hasDriver ? { failure: 'a driver is loaded, but nvidia-smi is not here' } : {}
  return { failure: (error?.message ?? `${stderr ?? ''}${line}`.trim()) || `nvidia-smi ended with ${status}` }
}
