/**
 * Memory of a process and all its descendants, as the sum of their PSS: what is shared between processes is
 * counted once, split among them. Linux only; elsewhere nothing is measured and the peak is null.
 */
import { readdir, readFile } from 'node:fs/promises'

export interface MemorySampler extends AsyncDisposable {
  /** Largest sum seen so far, in bytes; null where it cannot be measured. */
  peakBytes(): number | null
}

/** Samples the tree under `root`, itself included, until it is disposed. */
export function sampleMemory(root: number, everyMs = 500): MemorySampler {
  let peak: number | null = null
  let underWay: Promise<void> = Promise.resolve()
  async function sample(): Promise<void> {
    const bytes = await treePssBytes(root)
    if (bytes !== null) peak = Math.max(peak ?? 0, bytes)
  }
  // A sample waits for the one before it, so that a loaded machine does not pile them up.
  let isBusy = false
  function tick(): void {
    if (isBusy) return
    isBusy = true
    underWay = sample().finally(() => {
      isBusy = false
    })
  }
  tick()
  const timer = setInterval(tick, everyMs)
  timer.unref()
  return {
    peakBytes: () => peak,
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await underWay
    },
  }
}

/** Sum of PSS in bytes; null where /proc does not tell. */
export async function treePssBytes(root: number): Promise<number | null> {
  const parents = await parentsOfAll()
  if (parents === null) return null
  const sizes = await Promise.all(descendants(root, parents).map(pssBytes))
  const known = sizes.filter((size) => size !== null)
  return known.length === 0 ? null : known.reduce((sum, size) => sum + size, 0)
}

/** Parent by process id. */
async function parentsOfAll(): Promise<Map<number, number> | null> {
  const names = await readdir('/proc').catch(() => null)
  if (names === null) return null
  const found = await Promise.all(
    names
      .filter((name) => /^\d+$/.test(name))
      .map(async (name): Promise<[number, number] | null> => {
        const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => null)
        // The command name may hold blanks and brackets; what follows the last bracket does not.
        const parent = stat
          ?.slice(stat.lastIndexOf(')') + 1)
          .trim()
          .split(' ')[1]
        return parent === undefined ? null : [Number(name), Number(parent)]
      }),
  )
  return new Map(found.filter((entry) => entry !== null))
}

function descendants(root: number, parents: ReadonlyMap<number, number>): number[] {
  const members = new Set([root])
  for (let before = 0; before !== members.size; ) {
    before = members.size
    for (const [child, parent] of parents) if (members.has(parent)) members.add(child)
  }
  return [...members]
}

/** A process that has ended meanwhile counts nothing. */
async function pssBytes(pid: number): Promise<number | null> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => null)
  const kibibytes = text === null ? undefined : /^Pss:\s+(\d+) kB$/m.exec(text)?.[1]
  return kibibytes === undefined ? null : Number(kibibytes) * 1024
}
