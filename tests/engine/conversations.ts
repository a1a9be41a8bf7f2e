/** The conversations of tests/fixtures/scripts/conversations.py, and how ours compare with them. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { z } from 'zod'
import { ShadowError } from '../../src/lib/error.ts'
import { ChatTemplate } from '../../src/engine/tokenizer/chat-template.ts'
import { parseTokenizer } from '../../src/engine/tokenizer/tokenizer-file.ts'
import type { Tokenizer } from '../../src/engine/tokenizer/tokenizer.ts'
import { defaultText } from './default-model.ts'

const fixtures = new URL('../fixtures/', import.meta.url)

const message = z.object({
  role: z.string(),
  content: z.string().nullable(),
  tool_calls: z
    .array(z.object({ function: z.object({ name: z.string(), arguments: z.string() }) }))
    .optional(),
})
const tool = z.object({
  type: z.string(),
  function: z.object({
    name: z.string(),
    description: z.string(),
    parameters: z.record(z.string(), z.unknown()),
  }),
})
const packed = z.string().transform((text) => new Uint8Array(Buffer.from(text, 'base64')))
const fixture = z.object({
  tokenizers: z.record(z.string(), z.object({ tokenizer: z.unknown(), config: z.unknown() })),
  conversations: z.array(z.object({ messages: z.array(message), tools: z.array(tool).default([]) })),
  cases: z.array(
    z.object({
      tokenizer: z.string(),
      template: z.string(),
      conversation: z.number(),
      refused: z.boolean().default(false),
      ids: packed.default(new Uint8Array()),
      mask: packed.default(new Uint8Array()),
    }),
  ),
  decoded: z.array(z.object({ tokenizer: z.string(), text: z.string(), of: z.string() })),
})

export interface Difference {
  readonly tokenizer: string
  readonly template: string
  readonly conversation: number
  readonly what: 'ids' | 'mask' | 'refusal'
  readonly detail: string
}

export type Conversations = z.output<typeof fixture>

export function readConversations(): Conversations {
  const bytes = gunzipSync(readFileSync(new URL('conversations.json.gz', fixtures)))
  return fixture.parse(JSON.parse(bytes.toString()))
}

/** The template as it is published: without the markers that say what the assistant wrote. */
export function publishedTemplate(name: string): string {
  return markedTemplate(name).replaceAll(/\{%-?\s*(?:end)?generation\s*-?%\}/g, '')
}

function markedTemplate(name: string): string {
  return readFileSync(new URL(`templates/${name}.jinja`, fixtures), 'utf8')
}

export function tokenizersOf({ tokenizers }: Conversations): Map<string, Tokenizer> {
  const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))
  const read = Object.entries(tokenizers).map(([name, { tokenizer, config }]): [string, Tokenizer] => [
    name,
    parseTokenizer({ tokenizer: bytes(tokenizer), tokenizerConfig: bytes(config) }, name).tokenizer,
  ])
  return new Map([['smollm2', defaultText().tokenizer], ...read])
}

/** Every way in which our ids, masks and refusals are not those of the fixture. */
export function differences(conversations: Conversations): Difference[] {
  const tokenizers = tokenizersOf(conversations)
  const templates = new Map<string, ChatTemplate>()
  return conversations.cases.flatMap((one) => {
    const tokenizer = tokenizers.get(one.tokenizer)
    const { messages, tools } = conversations.conversations[one.conversation] ?? { messages: [], tools: [] }
    if (tokenizer === undefined) throw new Error(`The fixture has no tokenizer ${one.tokenizer}.`)
    const key = `${one.tokenizer} ${one.template}`
    const template = templates.get(key) ?? new ChatTemplate(markedTemplate(one.template), tokenizer)
    templates.set(key, template)
    const found = (what: Difference['what'], detail: string): Difference[] => {
      const { tokenizer, template, conversation } = one
      return [{ tokenizer, template, conversation, what, detail }]
    }
    const lossOn = messages.map(({ role }) => role === 'assistant')
    try {
      const { ids, targetMask } = template.encode(messages, { tools, lossOn })
      if (one.refused) return found('refusal', 'it was taken')
      const expected = [...new Uint16Array(one.ids.buffer)]
      const at = expected.findIndex((id, index) => ids[index] !== id)
      if (at >= 0 || expected.length !== ids.length)
        return found(
          'ids',
          `${at}: ${spelled(tokenizer, expected, at)} | ${spelled(tokenizer, [...ids], at)}`,
        )
      const bit = [...targetMask].findIndex((bit, i) => bit !== (((one.mask[i >> 3] ?? 0) >> (i & 7)) & 1))
      return bit < 0 ? [] : found('mask', `${bit}: ${spelled(tokenizer, expected, bit)}`)
    } catch (thrown) {
      if (!(thrown instanceof ShadowError)) throw thrown
      return one.refused ? [] : found('refusal', thrown.message)
    }
  })
}

function spelled(tokenizer: Tokenizer, ids: readonly number[], at: number): string {
  return JSON.stringify(ids.slice(Math.max(0, at - 4), at + 6).map((id) => tokenizer.tokenOf(id)))
}
