/** How long the event loop of this thread was held, piece by piece. */
import { PerformanceObserver } from 'node:perf_hooks'
import { setTimeout as wait } from 'node:timers/promises'

export interface LoopBlocks {
  /** Longest piece between two turns, in milliseconds of this thread's own processor time: what others use is not in it. */
  cpuMs: number
  /** The longest of the pieces in which no garbage was collected. */
  cpuMsWithoutGc: number
  /** The longest on the clock, which a busy machine stretches. */
  wallMs: number
  /** Turns of the loop. */
  turns: number
}

interface Piece {
  readonly cpuMs: number
  readonly from: number
  readonly to: number
}

/** Shorter pieces are of no interest. */
const leastMs = 0.5

/** Watches every turn of the loop until it is stopped. */
export function watchLoop(): { stop(): Promise<LoopBlocks> } {
  const pieces: Piece[] = []
  const collections: { from: number; to: number }[] = []
  const collecting = new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) {
      collections.push({ from: startTime, to: startTime + duration })
    }
  })
  collecting.observe({ entryTypes: ['gc'] })
  let turns = 0
  let isWatching = true
  const cpu = (): number => {
    // Linux counts a thread that runs on in ticks of some milliseconds, but brings its count up to date for this.
    process.cpuUsage()
    const { user, system } = process.threadCpuUsage()
    return (user + system) / 1000
  }
  let lastCpu = cpu()
  let from = performance.now()
  const turn = (): void => {
    const nowCpu = cpu()
    const to = performance.now()
    const cpuMs = nowCpu - lastCpu
    if (cpuMs > leastMs || to - from > leastMs) pieces.push({ cpuMs, from, to })
    turns++
    lastCpu = nowCpu
    from = to
    if (isWatching) setImmediate(turn)
  }
  setImmediate(turn)
  return {
    async stop() {
      isWatching = false
      // Collections are told of some turns later.
      await wait(20)
      collecting.disconnect()
      const isPlain = (piece: Piece) =>
        !collections.some((each) => each.from < piece.to && each.to > piece.from)
      const longest = (of: readonly Piece[]) => Math.max(0, ...of.map(({ cpuMs }) => cpuMs))
      return {
        cpuMs: longest(pieces),
        cpuMsWithoutGc: longest(pieces.filter(isPlain)),
        wallMs: Math.max(0, ...pieces.map((piece) => piece.to - piece.from)),
        turns,
      }
    },
  }
}
