/** A pass that the machine's memory can't hold is refused before the system ends the process for it. */
import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { ShadowError } from '../lib/error.ts'
import type { CausalLM } from './models/causal-lm.ts'

const floatBytes = 4

/**
 * Bytes that a forward pass keeps for its backward pass, at least: what each linear layer gives, or of a checkpointed one
 * the inputs of the blocks. Measured peaks are a third higher.
 */
export function activationBytes({ linears }: CausalLM, tokens: number, checkpointed: boolean): number {
  const outputs = linears.reduce((sum, { outFeatures }) => sum + outFeatures, 0)
  const inputs = linears
    .filter(({ path }) => path.endsWith('.o_proj'))
    .reduce((sum, { outFeatures }) => sum + outFeatures, 0)
  return floatBytes * tokens * (checkpointed ? inputs : outputs)
}

/** @throws ShadowError `out_of_memory` for a pass that certainly does not fit, with what to lower */
export function checkMemory(model: CausalLM, tokens: number, checkpointed: boolean): void {
  const needed = activationBytes(model, tokens, checkpointed)
  const available = availableBytes()
  if (needed <= available) return
  const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`
  throw new ShadowError(
    'out_of_memory',
    `A pass of ${tokens} tokens needs more than ${gigabytes(needed)}, and ${gigabytes(available)} are available.`,
    {
      hint: `${checkpointed ? 'L' : 'Set gradient_checkpointing, or l'}ower max_tokens_per_pass; a single row that is too long has to be cut.`,
    },
  )
}

/** What this process may still take. Linux says it; elsewhere free memory means little, and all of it is counted. */
function availableBytes(): number {
  const limit = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY)
  if (process.platform !== 'linux') return limit
  try {
    const meminfo = readFileSync('/proc/meminfo', 'utf8')
    const kilobytes = (name: string): number =>
      Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(meminfo)?.[1])
    const free = 1024 * (kilobytes('MemAvailable') + kilobytes('SwapFree'))
    return Number.isFinite(free) ? Math.min(limit, free) : limit
  } catch {
    return limit
  }
}
