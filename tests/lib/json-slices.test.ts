import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ShadowError } from '../../src/lib/error.ts'
import {
  maxJsonDepth,
  memberNamed,
  parseSlice,
  scanJsonObject,
  textOfBytes,
} from '../../src/lib/json-slices.ts'

const bytes = (text: string) => Buffer.from(text)

test('slices are the bytes as they stand', () => {
  const body = bytes(
    '\n{ "b\\u0061" : [ 1.0 ,{"x":"\\"]"} , "é" ],"2":-0.5e+3 , "2" : 12345678901234567890 }\t',
  )
  const members = scanJsonObject(body)
  expect(members.map(({ name }) => name)).toEqual(['ba', '2', '2'])
  expect(members[0]?.elements?.map((slice) => textOfBytes(body, slice))).toEqual([
    '1.0',
    '{"x":"\\"]"}',
    '"é"',
  ])
  expect(textOfBytes(body, memberNamed(members, '2')?.value)).toBe('12345678901234567890')
})

test('a scan accepts exactly what JSON.parse accepts, and finds what it finds', () => {
  const value = fc.json({ maxDepth: 5 })
  const damaged = fc
    .tuple(value, fc.nat(), fc.constantFrom('', '"', '{', ']', ',', ':', '\\', '0', '\u0001', 'e'))
    .map(([text, at, piece]) => {
      const place = at % (text.length + 1)
      return text.slice(0, place) + piece + text.slice(place + 1)
    })
  fc.assert(
    fc.property(fc.oneof(value, damaged), (text) => {
      const wrapped = `{"messages":[${text}],"v":${text}}`
      let expected: { messages: unknown[]; v: unknown } | null = null
      try {
        expected = JSON.parse(wrapped)
      } catch {}
      if (expected === null) {
        expect(() => scanJsonObject(bytes(wrapped))).toThrow(ShadowError)
        return
      }
      const body = bytes(wrapped)
      const members = scanJsonObject(body)
      const elements = memberNamed(members, 'messages')?.elements ?? []
      expect(elements.map((slice) => parseSlice(body, slice))).toEqual(expected.messages)
      expect(parseSlice(body, memberNamed(members, 'v')?.value)).toEqual(expected.v)
    }),
    { numRuns: 1000 },
  )
})

test.each([
  ['', 'empty'],
  ['   ', 'empty'],
  ['[1]', 'object was expected'],
  ['{"a":1} x', 'follows'],
  ['{"a":1,}', 'member name'],
  ['{"a" 1}', '":" was expected'],
  ['{"a":[1 2]}', '"," or "]"'],
  ['{"a":"x', 'does not end'],
  ['{"a":"\\x"}', 'escape'],
  ['{"a":01}', 'no JSON value'],
  ['{"a":', 'value was expected'],
  ['{"a":tru}', 'no JSON value'],
  ['{"a":"\n"}', 'control character'],
])('malformed %j is refused with its place', (text, reason) => {
  expect(() => scanJsonObject(bytes(text))).toThrow(reason)
  expect(() => scanJsonObject(bytes(text))).toThrow(/byte \d+/)
})

test('scalars and escapes are taken exactly as JSON.parse takes them', () => {
  const letters = (of: string) =>
    fc.array(fc.constantFrom(...of.split('')), { maxLength: 7 }).map((each) => each.join(''))
  const text = fc.oneof(
    letters('0123.eE+-'),
    letters('truefalsn'),
    letters('0u"\\').map((each) => `"${each}"`),
    letters('uaf09gG\\').map((each) => `"\\u${each}"`),
    letters('bfnrtu/\\x').map((each) => `"\\${each}"`),
    fc.constantFrom('true', 'false', 'null', '-0', '-0.0e+00', '1E400', '"\\ud83d"'),
  )
  fc.assert(
    fc.property(text, fc.constantFrom('', ' ', '\n', ',"b":1'), (value, after) => {
      const json = `{"a":${value}${after}}`
      let isJson = true
      try {
        JSON.parse(json)
      } catch {
        isJson = false
      }
      let found: ReturnType<typeof scanJsonObject> | null = null
      try {
        found = scanJsonObject(Buffer.from(json))
      } catch {
        // Not taken.
      }
      expect([json, found !== null]).toEqual([json, isJson])
      const [first] = found ?? []
      if (first !== undefined) expect(json.slice(first.value.start, first.value.end)).toBe(value)
    }),
    { numRuns: 3000 },
  )
})

test('nesting is bounded, not a stack overflow', () => {
  const deep = (depth: number) => bytes(`{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`)
  expect(scanJsonObject(deep(maxJsonDepth - 1))).toHaveLength(1)
  expect(() => scanJsonObject(deep(maxJsonDepth))).toThrow('nested more than')
  expect(() => scanJsonObject(deep(1_000_000))).toThrow('nested more than')
})
