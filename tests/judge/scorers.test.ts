import { describe, expect, it } from 'vitest'
import { scorers } from '../../judge/scorers/registry.ts'
import { scorerName } from '../../src/contract/index.ts'

describe('every scorer', () => {
  it('is registered under its own name', () => {
    for (const name of scorerName.options) expect(scorers[name].name).toBe(name)
  })

  it.each(scorerName.options)('%s gives an equal answer 1 and another one 0', (name) => {
    expect(scorers[name].score('{"a":1}', '{"a":1}')).toBe(1)
    expect(scorers[name].score('{"a":2}', '{"a":1}')).toBe(0)
  })
})

describe('exact', () => {
  it.each([
    ['refund \n', ' refund', 1],
    ['Refund', 'refund', 0],
    ['a  b', 'a b', 0],
    ['', '', 1],
  ])('%j against %j is %d', (answer, reference, score) => {
    expect(scorers.exact.score(answer, reference)).toBe(score)
  })
})

describe('contains', () => {
  it.each([
    ['The answer is  REFUND,\nsir.', 'refund, sir', 1],
    ['ﬁne', 'fine', 1],
    ['anything', '  ', 0],
    ['', '', 1],
    ['ref', 'refund', 0],
  ])('%j against %j is %d', (answer, reference, score) => {
    expect(scorers.contains.score(answer, reference)).toBe(score)
  })
})

describe('json', () => {
  it.each([
    ['```json\n{"b": [1, 2.0], "a": "\\u00e9"}\n```', '{"a":"é","b":[1.0,2]}', 1],
    ['{"a":[1,2]}', '{"a":[2,1]}', 0],
    ['{"a":null}', '{}', 0],
    ['{"0":1}', '[1]', 0],
    ['{"a":1}', '{"a":"1"}', 0],
    ['-0', '0', 1],
    ['1e2', '100', 1],
    ['{"__proto__":1}', '{}', 0],
    ['not json', '{}', 0],
    [' plain ', 'plain', 1],
  ])('%j against %j is %d', (answer, reference, score) => {
    expect(scorers.json.score(answer, reference)).toBe(score)
  })

  it('is not overflowed by deep nesting', () => {
    const deep = `${'['.repeat(5_000)}${']'.repeat(5_000)}`
    expect(scorers.json.score(deep, deep)).toBe(1)
    expect(scorers.json.score('['.repeat(500_000), deep)).toBe(0)
  })
})
