/** Bodies that a JSON library would tidy up, in every dialect: passed as they are, and rebuilt from the record. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { startProxy } from '../support/proxy.ts'
import { answerInAnyDialect } from '../support/stand-in-dialects.ts'

const space = fc.stringMatching(/^[ \n\r\t]{0,3}$/)
const number = fc.constantFrom('1.0', '-0', '1E+3', '12345678901234567890', '0.10', '1e-7', '1e400')
const text = fc.string({ unit: 'grapheme', maxLength: 20 }).map((value) => JSON.stringify(value))
const escaped = fc.constantFrom('"\\u0041"', '"\\/"', '"\\ud800"', '"\\udc00\\ud800"', '"\\u00e9é"', '""')
const scalar = fc.oneof(number, text, escaped, fc.constantFrom('null', 'true'))
const key = fc.constantFrom('"10"', '"9"', '"b"', '"a"', '"__proto__"', '"unknown"', '"\\u0061"')
const member = fc.tuple(key, space, scalar).map(([name, gap, value]) => `${name}${gap}:${gap}${value}`)
const extra = fc.array(member, { maxLength: 4 }).map((all) => all.map((each) => `,${each}`).join(''))
const object = fc.tuple(space, extra).map(([gap, all]) => `{${gap}"x":1${all}${gap}}`)

function listOf(items: fc.Arbitrary<string>) {
  return fc
    .tuple(fc.array(items, { minLength: 1, maxLength: 5 }), space)
    .map(([all, gap]) => `[${gap}${all.join(`${gap},${gap}`)}${gap}]`)
}

const thinking = fc
  .tuple(text, extra)
  .map(([said, all]) => `{"type":"thinking","thinking":${said},"signature":"EqQB+/8=\\u002b\\/"${all}}`)
const toolUse = fc
  .tuple(object, extra)
  .map(([input, all]) => `{"type":"tool_use","id":"toolu_1","name":"f","input":${input}${all}}`)
const block = fc.oneof(
  thinking,
  toolUse,
  text.map((said) => `{"type":"text","text":${said}}`),
  object,
)

const message = fc.tuple(fc.constantFrom('user', 'assistant'), listOf(block), extra)
const item = fc.oneof(
  fc.tuple(text, extra).map(([said, all]) => `{"role":"user","content":${said}${all}}`),
  fc.tuple(object, extra).map(([each, all]) => `{"type":"reasoning","summary":[${each}]${all}}`),
  fc
    .tuple(text, extra)
    .map(([said, all]) => `{"type":"function_call","call_id":"1","name":"f","arguments":${said}${all}}`),
  fc
    .tuple(text, extra)
    .map(([said, all]) => `{"type":"function_call_output","call_id":"1","output":${said}${all}}`),
  extra.map((all) => `{"type":"of_next_year"${all}}`),
)

const bodies: Record<string, fc.Arbitrary<string>> = {
  messages: fc
    .tuple(
      listOf(message.map(([role, content, all]) => `{"role":"${role}","content":${content}${all}}`)),
      listOf(block),
      extra,
    )
    .map(([list, system, all]) => `{"system":${system},"messages":${list}${all},"model":"m"}`),
  responses: fc
    .tuple(listOf(item), scalar, extra)
    .map(([input, said, all]) => `{"input":${input},"instructions":${said}${all},"input":${input}}`),
  completions: fc
    .tuple(fc.oneof(text, escaped, listOf(number), listOf(text)), extra, space)
    .map(([prompt, all, gap]) => `${gap}{${gap}"prompt":${gap}${prompt}${all},"model":"m"}${gap}`),
}

test.each(Object.keys(bodies))('%s', { timeout: 60_000 }, async (name) => {
  await using shadow = await startProxy({ answer: answerInAnyDialect('ok') })
  await fc.assert(
    fc.asyncProperty(bodies[name] ?? fc.constant(''), async (sent) => {
      const reply = await fetch(`${shadow.origin}/v1/${name}`, { method: 'POST', body: sent })
      await reply.text()
      const id = reply.headers.get('x-shadow-call') ?? ''
      expect(shadow.standIn.seen.at(-1)?.body.toString()).toBe(sent)
      expect(Buffer.from(await shadow.reader.requestBytes(id)).toString()).toBe(sent)
      expect((await shadow.reader.readCall(id)).messages.length).toBeGreaterThan(0)
    }),
    { numRuns: 60 },
  )
})
