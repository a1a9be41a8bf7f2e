/** Everything the engine needs on this machine, fetched and compiled once. */
import { ensureEngine } from './engine.mjs'
import { ensureDefaultModel } from './model.mjs'
import { silentProgress } from './progress.mjs'

/**
 * Makes the engine and the default model ready; returns at once when they are.
 * @param {{ progress?: import('./progress.mjs').Progress }} [options]
 * @returns {Promise<{ addon: string, model: string }>} their paths
 * @throws {import('./failure.mjs').SetupFailure} one sentence that says what to install or check
 */
export async function ensureReady({ progress = silentProgress } = {}) {
  // One after the other: the two downloads share the line, and each step's time stays its own.
  const addon = await ensureEngine({ progress })
  const model = await ensureDefaultModel({ progress })
  return { addon, model }
}
