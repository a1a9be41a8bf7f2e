/** How long the event loop of this thread was held, piece by piece. */

export interface LoopBlocks {
  /**
   * Longest piece between two turns, in milliseconds of this thread's own processor time: what others use is not in it. Some
   * kernels count it in ticks of 4 ms.
   */
  cpuMs: number
  /** The same on the clock, which a busy machine stretches. */
  wallMs: number
  /** Turns of the loop. */
  turns: number
}

/** Watches every turn of the loop until it is stopped. */
export function watchLoop(): { stop(): LoopBlocks } {
  const blocks: LoopBlocks = { cpuMs: 0, wallMs: 0, turns: 0 }
  let isWatching = true
  const cpu = (): number => {
    const { user, system } = process.threadCpuUsage()
    return (user + system) / 1000
  }
  let lastCpu = cpu()
  let lastWall = performance.now()
  const turn = (): void => {
    const nowCpu = cpu()
    const nowWall = performance.now()
    blocks.cpuMs = Math.max(blocks.cpuMs, nowCpu - lastCpu)
    blocks.wallMs = Math.max(blocks.wallMs, nowWall - lastWall)
    blocks.turns++
    lastCpu = nowCpu
    lastWall = nowWall
    if (isWatching) setImmediate(turn)
  }
  setImmediate(turn)
  return {
    stop() {
      isWatching = false
      return blocks
    },
  }
}
