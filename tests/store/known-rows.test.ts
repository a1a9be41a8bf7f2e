import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { KnownRows } from '../../src/store/capture/known-rows.ts'

const hash = (text: string) => createHash('sha256').update(text).digest()

function valuesOf(rows: KnownRows, text: string): number[] | null {
  const place = rows.find(hash(text))
  return place === null ? null : [rows.value(place, 0), rows.value(place, 1)]
}

test('rows of late are found with all that is known of them, and never another one', () => {
  const rows = new KnownRows(2, 1024)
  for (let id = 1; id <= 20_000; id++) {
    rows.add(hash(`${id}`), id, id * 2 ** 21)
    expect(valuesOf(rows, `${id}`)).toEqual([id, id * 2 ** 21])
  }
  let known = 0
  for (let id = 1; id <= 20_000; id++) {
    const found = valuesOf(rows, `${id}`)
    if (found === null) continue
    known++
    expect(found).toEqual([id, id * 2 ** 21])
  }
  expect(known).toBeGreaterThan(900)
  expect(known).toBeLessThanOrEqual(1024)
  for (let id = 1; id <= 1000; id++) expect(rows.find(hash(`not ${id}`))).toBeNull()
  rows.clear()
  for (let id = 1; id <= 20_000; id += 13) expect(rows.find(hash(`${id}`))).toBeNull()
})

test('what is asked for again and again is kept', () => {
  const rows = new KnownRows(1, 16)
  rows.add(hash('root'), 7)
  for (let id = 1; id <= 1000; id++) {
    rows.add(hash(`${id}`), id)
    const place = rows.find(hash('root'))
    expect(place).not.toBeNull()
    expect(rows.value(place ?? -1, 0)).toBe(7)
  }
})

test('a row that is added again is there once, with its new values', () => {
  const rows = new KnownRows(1, 2)
  rows.add(hash('a'), 1)
  rows.add(hash('b'), 2)
  rows.add(hash('a'), 3)
  const [a, b] = [rows.find(hash('a')), rows.find(hash('b'))]
  expect(a === null ? null : rows.value(a, 0)).toBe(3)
  expect(b).not.toBeNull()
  expect(rows.value(rows.find(hash('b')) ?? -1, 0)).toBe(2)
})
