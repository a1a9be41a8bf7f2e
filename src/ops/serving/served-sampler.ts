/** The serving child as the evaluation sees it: asked over its own HTTP interface, like live traffic. */
import { Agent, fetch as undiciFetch } from 'undici'
import { z } from 'zod'
import { renderMessage } from '../../../judge/render.ts'
import type { Sampler } from '../../contract/judging.ts'
import { chatMessage } from '../../contract/message.ts'
import { ShadowError } from '../../lib/error.ts'

const completion = z.object({ choices: z.array(z.object({ message: chatMessage })).min(1) })

/** Twice what the child decodes together keeps it busy while answers are on their way. */
const requestsUnderWay = 32

export interface ServedSampler extends Sampler {
  /** Requests that the server declined so far; each counts as answered by ''. */
  refused(): number
}

/** @throws ShadowError engine_failed from `answer` when the child fails */
export function servedSampler(socketPath: string, model: string): ServedSampler {
  // The evaluation waits in the child's queue, so neither headers nor body may time out.
  const dispatcher = new Agent({ connect: { socketPath }, headersTimeout: 0, bodyTimeout: 0 })
  let refused = 0
  return {
    name: model,
    concurrency: requestsUnderWay,
    refused: () => refused,
    async answer({ messages, tools, maxTokens }, signal) {
      const reply = await undiciFetch('http://engine/v1/chat/completions', {
        method: 'POST',
        dispatcher,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          model,
          messages,
          ...(tools.length === 0 ? {} : { tools }),
          ...(maxTokens === null ? {} : { max_tokens: maxTokens }),
        }),
        signal: signal ?? null,
      })
      const text = await reply.text()
      // A conversation beyond the context, say: live the frontier would answer it.
      if (reply.status === 400) {
        refused += 1
        return ''
      }
      const [choice] = reply.ok ? completion.parse(JSON.parse(text)).choices : []
      if (choice === undefined) {
        throw new ShadowError(
          'engine_failed',
          `The serving process answered ${reply.status}: ${text.slice(0, 300)}`,
        )
      }
      return renderMessage(choice.message)
    },
  }
}
