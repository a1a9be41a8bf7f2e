/** Ways to spoil bytes and JSON. */
import type { Chance } from './chance.ts'

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** Whole numbers at the edges of what files and readers count with. */
export const edgeNumbers: readonly number[] = [
  0,
  -0,
  -1,
  1,
  2,
  3,
  7,
  255,
  65_536,
  2 ** 24 + 1,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 40,
  2 ** 53 - 1,
  2 ** 53,
  2 ** 63,
  -(2 ** 31),
  -(2 ** 63),
  0.5,
  1e-300,
  1e308,
]

const edgeStrings: readonly string[] = [
  '',
  ' ',
  '__proto__',
  'constructor',
  'toString',
  '../../../../etc/passwd',
  '/dev/zero',
  'a\u0000b',
  '\ud800',
  '\u001b[2J',
  '{% for i in range(1000000000) %}{{ i }}{% endfor %}',
  'x'.repeat(5000),
  'F32',
  'Q4_0',
  'llama',
  'null',
]

/** One to three spoilings of raw bytes: bits, runs, numbers, cuts, repeats. */
export function mutateBytes(source: Uint8Array, chance: Chance): Uint8Array {
  let bytes = Buffer.from(source)
  for (let times = 1 + chance.below(3); times > 0 && bytes.length > 0; times--) {
    // Headers stand first, so half of the spoilings fall on the first quarter.
    const at = chance.below(chance.is(0.5) ? Math.ceil(bytes.length / 4) : bytes.length)
    const kind = chance.below(7)
    if (kind === 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << chance.below(8))
    else if (kind === 1) bytes[at] = chance.below(256)
    else if (kind === 2)
      bytes.fill(chance.pick([0, 255, 0x5b, 0x22]), at, Math.min(at + 1 + chance.below(16), bytes.length))
    else if (kind === 3) bytes = bytes.subarray(0, at)
    else if (kind === 4 && bytes.length >= 8) {
      const value = BigInt(Math.trunc(chance.pick(edgeNumbers)))
      bytes.writeBigUInt64LE(BigInt.asUintN(64, value), Math.min(at, bytes.length - 8))
    } else if (kind === 5 && bytes.length >= 4)
      bytes.writeUInt32LE(chance.pick(edgeNumbers) >>> 0, Math.min(at, bytes.length - 4))
    else {
      const part = bytes.subarray(at, at + chance.below(64))
      bytes = Buffer.concat([bytes.subarray(0, at), part, bytes.subarray(at)])
    }
  }
  return bytes
}

/** A value that a reader may not expect. */
export function edgeJson(chance: Chance): Json {
  const kind = chance.below(4)
  if (kind === 0) return chance.pick(edgeNumbers)
  if (kind === 1) return chance.pick(edgeStrings)
  if (kind === 2) return chance.pick<Json>([null, true, false, [], {}, [[]], [null], { a: [] }, ['a', 'a']])
  return Array.from({ length: 1 + chance.below(5) }, () => chance.pick(edgeNumbers))
}

/** The value with one node replaced, removed, renamed or copied over another. */
export function mutateJson(value: Json, chance: Chance): Json {
  if (value === null || typeof value !== 'object') return edgeJson(chance)
  if (Array.isArray(value)) {
    if (value.length === 0 || chance.is(0.2)) return edgeJson(chance)
    const index = chance.below(value.length)
    const kind = chance.below(6)
    if (kind === 0) return value.toSpliced(index, 1)
    if (kind === 1) return value.toSpliced(index, 0, value[chance.below(value.length)] ?? null)
    return value.with(index, mutateJson(value[index] ?? null, chance))
  }
  const keys = Object.keys(value)
  if (keys.length === 0 || chance.is(0.1)) return edgeJson(chance)
  const key = chance.pick(keys)
  const entries = Object.entries(value)
  const kind = chance.below(8)
  if (kind === 0) return Object.fromEntries(entries.filter(([name]) => name !== key))
  if (kind === 1)
    return Object.fromEntries(
      entries.map(([name, one]) => [name === key ? chance.pick(edgeStrings) : name, one]),
    )
  if (kind === 2)
    return Object.fromEntries(
      entries.map(([name, one]) => [name, name === key ? (value[chance.pick(keys)] ?? null) : one]),
    )
  return Object.fromEntries(
    entries.map(([name, one]) => [name, name === key ? mutateJson(one, chance) : one]),
  )
}

/** JSON text of the value, sometimes with what no value can hold: names twice, deep nesting, cuts. */
export function spoiledText(value: Json, chance: Chance): string {
  const text = JSON.stringify(value)
  const kind = chance.below(10)
  if (kind === 0) {
    const names = [...text.matchAll(/"[^"\\]*":/g)]
    if (names.length === 0) return text
    const name = chance.pick(names)
    return `${text.slice(0, name.index)}${name[0]}${JSON.stringify(edgeJson(chance))},${text.slice(name.index)}`
  }
  if (kind === 1) {
    const depth = chance.pick([100, 600, 20_000])
    const [open, close] = chance.pick([
      ['[', ']'],
      ['{"a":', '}'],
    ])
    const nested = `${open?.repeat(depth)}0${close?.repeat(depth)}`
    const values = [...text.matchAll(/:("[^"\\]*"|[\d.]+|true|null)/g)]
    if (values.length === 0) return nested
    const one = chance.pick(values)
    return `${text.slice(0, one.index + 1)}${nested}${text.slice(one.index + one[0].length)}`
  }
  if (kind === 2) return Buffer.from(mutateBytes(Buffer.from(text), chance)).toString('latin1')
  return text
}
