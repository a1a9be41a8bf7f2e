/** How many threads the engine takes where nobody says. */
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { ShadowError } from '../../lib/error.ts'

/**
 * What `SHADOW_THREADS` says, else the cores that this process may use: its affinity, and less where a control group
 * grants less time than that.
 * @throws ShadowError `invalid_config` when `SHADOW_THREADS` is no whole number above 0
 */
export function defaultThreads(env: NodeJS.ProcessEnv = process.env): number {
  const wanted = env['SHADOW_THREADS']
  if (wanted === undefined || wanted === '')
    return Math.min(availableParallelism(), grantedCores('/sys/fs/cgroup', read('/proc/self/cgroup') ?? ''))
  const threads = Number(wanted)
  if (Number.isSafeInteger(threads) && threads > 0) return threads
  throw new ShadowError('invalid_config', `SHADOW_THREADS is ${wanted}, which is no number of threads.`, {
    hint: 'Use a whole number above 0, or unset it.',
  })
}

/**
 * Whole cores that control groups grant, 1 at least; infinite where none limits them. A group is limited by those that
 * it lies in, too. Node's `availableParallelism` sees some of these limits and misses others.
 * @param root where control groups are mounted
 * @param membership the content of `/proc/self/cgroup`: `id:controllers:path` a line
 */
export function grantedCores(root: string, membership: string): number {
  let cores = Number.POSITIVE_INFINITY
  for (const line of membership.split('\n')) {
    const [, , controllers = '', path = ''] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? []
    const isUnified = controllers === '' && path !== ''
    if (!isUnified && !controllers.split(',').includes('cpu')) continue
    const mounts = isUnified ? [root] : [join(root, 'cpu'), join(root, controllers)]
    for (const mount of mounts)
      for (const folder of upwards(path)) cores = Math.min(cores, coresOf(join(mount, folder)))
  }
  return Math.max(1, Math.floor(cores))
}

/** `/a/b`, `/a`, `/`. */
function upwards(path: string): string[] {
  const parent = dirname(path)
  return parent === path ? [path] : [path, ...upwards(parent)]
}

/** Time granted over time passed; infinite where there is no limit, or no such group. */
function coresOf(group: string): number {
  const whole = read(join(group, 'cpu.max'))?.trim().split(' ')
  const [quota, period] = whole ?? [
    read(join(group, 'cpu.cfs_quota_us')),
    read(join(group, 'cpu.cfs_period_us')),
  ]
  const cores = Number(quota) / Number(period)
  return cores > 0 && Number.isFinite(cores) ? cores : Number.POSITIVE_INFINITY
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
