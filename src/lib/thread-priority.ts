/** Priorities of threads, where the system has them. */
import { readlinkSync } from 'node:fs'
import { setPriority } from 'node:os'

/** A third of the share that another thread gets: enough to keep up on a machine that is busy for long. */
const niceness = 5

/**
 * Lets the calling thread give way to the others when cores are short. On Linux a thread has a priority of its
 * own; elsewhere this changes nothing.
 */
export function yieldToOtherThreads(): void {
  if (process.platform !== 'linux') return
  try {
    const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1))
    if (Number.isSafeInteger(thread) && thread > 0) setPriority(thread, niceness)
  } catch {
    // Nothing depends on it.
  }
}
