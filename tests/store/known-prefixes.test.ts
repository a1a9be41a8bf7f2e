import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { dialects } from '../../src/dialects/index.ts'
import { hashBytes, KeyedHash } from '../../src/lib/hash.ts'
import { PromptHasher, type Remembering, replyTo } from '../../src/store/capture/prompt.ts'

const hash = new KeyedHash(randomBytes(hashBytes))

/** Messages of which one's meaning depends on those before it. */
const message = fc.oneof(
  fc.record({ role: fc.constantFrom('system', 'user', 'assistant'), content: fc.constantFrom('a', 'b', '') }),
  fc.record({ id: fc.constantFrom('x', 'y'), name: fc.constantFrom('f', 'g') }).map(({ id, name }) => ({
    role: 'assistant',
    content: null,
    tool_calls: [{ id, type: 'function', function: { name, arguments: '{ "n": 1.0 }' } }],
  })),
  fc.record({
    role: fc.constant('tool'),
    tool_call_id: fc.constantFrom('x', 'y'),
    content: fc.constant('r'),
  }),
)

/** Either one of the conversations before, up to somewhere, and on from there, or one of its own. */
const step = fc.record({
  from: fc.nat(),
  upTo: fc.nat(),
  more: fc.array(message, { maxLength: 4 }),
  tools: fc.constantFrom(null, '[]', '[{"type":"function","function":{"name":"f"}}]'),
  dialect: fc.constantFrom(...dialects),
  goesOn: fc.boolean(),
})

const sizes: Remembering[] = [
  { bytes: 1_000_000, fromBytes: 0 },
  { bytes: 1_000_000, fromBytes: 200 },
  // Most of it is forgotten again and again.
  { bytes: 8000, fromBytes: 0 },
]

test.each(sizes)('a conversation is the same whatever is remembered: %j', (remembering) => {
  const tail = Buffer.from('{"role":"tool","tool_call_id":"x","content":"r"}')
  const base = { raw: randomBytes(hashBytes), node: randomBytes(hashBytes) }
  fc.assert(
    fc.property(fc.array(step, { minLength: 2, maxLength: 12 }), (steps) => {
      const hasher = new PromptHasher(hash, remembering)
      const before: Uint8Array[][] = []
      const prompts = steps.map(({ from, upTo, more, tools, dialect, goesOn }) => {
        const known = before[from % (before.length + 1)] ?? []
        const messages = [
          ...known.slice(0, upTo % (known.length + 1)),
          ...more.map((each) => Buffer.from(JSON.stringify(each))),
        ]
        before.push(messages)
        const content = {
          dialect,
          tools: tools === null ? null : Buffer.from(tools),
          messages,
          ...(goesOn && from % 3 === 0 ? { base } : {}),
        }
        return { content, prompt: hasher.prompt(content) }
      })
      // A reply may come long after its prompt, when others have gone on from there.
      for (const { content, prompt } of prompts) {
        const fresh = new PromptHasher(hash).prompt(content)
        const { walk: _, ...same } = fresh
        expect(prompt).toMatchObject(same)
        expect(replyTo(prompt, tail)).toEqual(replyTo(fresh, tail))
      }
    }),
    { numRuns: 300 },
  )
})

test('equal checksums and lengths are not taken for equal messages', () => {
  // Two words with one CRC-32, wherever they stand.
  const hasher = new PromptHasher(hash, { bytes: 1_000_000, fromBytes: 0 })
  const [dialect] = dialects
  if (dialect === undefined) throw new Error('There are dialects.')
  const [one, other] = ['plumless', 'buckeroo'].map((content) =>
    Buffer.from(JSON.stringify({ role: 'user', content })),
  )
  if (one === undefined || other === undefined) throw new Error('There are two.')
  const prompt = (bytes: Uint8Array) => hasher.prompt({ dialect, tools: null, messages: [bytes] }).rawPath
  expect(prompt(one).equals(prompt(other))).toBe(false)
  expect(prompt(one).equals(prompt(one))).toBe(true)
})
