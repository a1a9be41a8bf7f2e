import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonicalJson, canonicalJsonText } from '../../src/lib/canonical-json.ts'

test('the example of RFC 8785, section 3.2.2', () => {
  const text = `{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],
    "string":"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}`
  expect(canonicalJson(JSON.parse(text))).toBe(
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
  )
})

test('members are sorted by UTF-16 code units', () => {
  expect(canonicalJsonText('{"\\ud83d\\ude00":1,"\\ufb33":2,"10":3,"9":4,"":5,"__proto__":6}')).toBe(
    '{"":5,"10":3,"9":4,"__proto__":6,"\ud83d\ude00":1,"\ufb33":2}',
  )
})

test('numbers that a double holds are equal however they are written; others keep their digits', () => {
  expect(canonicalJsonText('1.0')).toBe(canonicalJsonText('1'))
  expect(canonicalJsonText('1e2')).toBe(canonicalJsonText('100'))
  expect(canonicalJsonText('-0')).toBe('0')
  expect(canonicalJsonText('12345678901234567890')).not.toBe(canonicalJsonText('12345678901234567891'))
  expect(canonicalJsonText('12345678901234567890.0')).toBe(canonicalJsonText('12345678901234567890'))
  expect(canonicalJsonText('1e400')).not.toBe(canonicalJsonText('1e401'))
  expect(canonicalJsonText('9007199254740992')).toBe('9007199254740992')
})

test('white space and the order of members make no difference', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value)
      expect(canonicalJsonText(JSON.stringify(reversed(value), null, 2))).toBe(canonicalJsonText(text))
      expect(JSON.parse(canonicalJsonText(text))).toEqual(JSON.parse(text))
    }),
  )
})

test('depth costs no stack', () => {
  const depth = 200_000
  const text = '['.repeat(depth) + ']'.repeat(depth)
  expect(canonicalJson(JSON.parse(text))).toBe(text)
})

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([name, member]) => [name, reversed(member)]),
  )
}
