/** Collect: the calls that this run is about, and how many tokens they hold once and in all. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { z } from 'zod'
import type { CapturedCall, ChatMessage } from '../../contract/index.ts'
import { textOf } from '../../contract/message.ts'
import { writeFileAtomically } from '../../lib/files.ts'
import type { StageResult, StageRunner } from './stage.ts'
import type { RunContext } from './run-context.ts'

const collected = z.object({
  calls: z.number(),
  sessions: z.number(),
  complete: z.number(),
  tokens: z.number(),
  uniqueTokens: z.number(),
})
export type Collected = z.infer<typeof collected>

export async function collect(context: RunContext, stages: StageRunner): Promise<StageResult<Collected>> {
  const calls = context.calls
  const ids = calls.map((call) => `${call.id} ${call.status}`)
  return await stages.run({
    name: 'collect',
    inputs: { calls: createHash('sha256').update(ids.join('\n')).digest('hex') },
    output: collected,
    async run({ output }, progress) {
      const tokens = countTokens(calls, context.countTokens, (done) => progress.update(done, calls.length))
      await writeFileAtomically(join(output, 'calls.json'), JSON.stringify(calls.map((call) => call.id)))
      return {
        calls: calls.length,
        sessions: new Set(calls.map((call) => call.session)).size,
        complete: calls.filter((call) => call.status === 'complete').length,
        ...tokens,
      }
    },
    facts: (output) => ({
      calls: output.calls,
      sessions: output.sessions,
      ...(output.complete === output.calls ? {} : { complete: output.complete }),
      tokens: output.tokens,
      'unique tokens': output.uniqueTokens,
    }),
  })
}

/**
 * Tokens of message texts: `tokens` counts every call's prompt and replies, `uniqueTokens` each message once
 * under its prefix, which is what the tree holds.
 */
export function countTokens(
  calls: readonly CapturedCall[],
  count: (text: string) => number,
  onCall: (done: number) => void = () => {},
): { tokens: number; uniqueTokens: number } {
  const known = new Map<string, number>()
  let tokens = 0
  let uniqueTokens = 0
  const add = (parent: string, message: ChatMessage): string => {
    const text = spoken(message)
    const node = createHash('sha256').update(`${parent}\0${message.role}\0${text}`).digest('base64')
    let size = known.get(node)
    if (size === undefined) {
      size = count(text)
      known.set(node, size)
      uniqueTokens += size
    }
    tokens += size
    return node
  }
  for (const [index, call] of calls.entries()) {
    let node = ''
    for (const message of call.messages) node = add(node, message)
    for (const reply of call.replies) add(node, reply.message)
    onCall(index + 1)
  }
  return { tokens, uniqueTokens }
}

function spoken(message: ChatMessage): string {
  const calls = (message.tool_calls ?? []).map((call) => `${call.function.name} ${call.function.arguments}`)
  return [textOf(message), ...calls].join('\n')
}
