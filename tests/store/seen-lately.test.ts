import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { SeenLately } from '../../src/store/capture/seen-lately.ts'

const hash = (text: string) => createHash('sha256').update(text).digest()

test('what was noted within the span is known, and little else', () => {
  const seen = new SeenLately(1000)
  for (let index = 0; index < 20_000; index++) seen.note(hash(`${index}`), index / 20)
  for (let index = 0; index < 20_000; index += 7) expect(seen.has(hash(`${index}`))).toBe(true)
  let wrong = 0
  for (let index = 0; index < 20_000; index++) if (seen.has(hash(`not ${index}`))) wrong++
  expect(wrong).toBeLessThan(5)
  // One span later it may be known, two later it is forgotten; a clock that is set back forgets nothing.
  seen.note(hash('later'), 2001)
  expect(seen.has(hash('19999'))).toBe(true)
  seen.note(hash('back'), 5)
  seen.note(hash('last'), 3002)
  expect([seen.has(hash('0')), seen.has(hash('later')), seen.has(hash('back'))]).toEqual([false, true, true])
})
