/** What `generate` and `chat` share. */
import type { Command } from 'commander'
import { z } from 'zod'
import { numberFrom, wholeFrom } from './number-options.ts'
import { addThreadsOption } from './threads-option.ts'

export const textOptions = {
  base: z.string().optional(),
  temperature: z.number(),
  maxNewTokens: z.number(),
  seed: z.number(),
  loadIn4bit: z.boolean().default(false),
}

export function addTextOptions(command: Command, maxNewTokens: number): Command {
  return addThreadsOption(command)
    .option('-m, --base <model>', 'base model, where the adapter does not name one that is here')
    .option('--temperature <number>', '0 is greedy', numberFrom(0), 0.7)
    .option('--max-new-tokens <number>', 'tokens of a reply at most', wholeFrom(1), maxNewTokens)
    .option('--seed <number>', 'decides all random choices', wholeFrom(0), 0)
    .option('--load-in-4bit', 'quantise the matrices while they are loaded')
}

/** Ctrl-C while text is coming ends it, which is no fault. */
export async function withoutStop(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
