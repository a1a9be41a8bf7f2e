import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeSafetensors, openSafetensors, tensorData } from '../../src/engine/io/safetensors.ts'
import { ShadowError } from '../../src/lib/error.ts'

let path: string
beforeAll(() => {
  path = join(mkdtempSync(join(tmpdir(), 'shadow-safetensors-')), 'file.safetensors')
})
afterAll(() => rmSync(join(path, '..'), { recursive: true }))

function withHeader(header: string, dataBytes: number, headerLength = header.length): Buffer {
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(headerLength))
  return Buffer.concat([length, Buffer.from(header), Buffer.alloc(dataBytes)])
}

const a = { shape: [2, 3], data: Float32Array.from([1, 2, 3, -4, 0.5, Infinity]) }
const b = { shape: [1], data: Float32Array.from([7]) }

test('what is written is read again', () => {
  writeFileSync(
    path,
    encodeSafetensors(
      new Map([
        ['b', b],
        ['a', a],
      ]),
      { format: 'pt' },
    ),
  )
  using file = openSafetensors(path)
  expect(file.metadata).toEqual({ format: 'pt' })
  expect([...file.tensors.keys()]).toEqual(['a', 'b'])
  expect(file.tensors.get('a')).toMatchObject({ shape: [2, 3], storedAs: 'F32' })
  expect(file.tensors.get('a')?.read()).toEqual(a.data)
  expect(file.tensors.get('b')?.read()).toEqual(b.data)
})

test('the bytes do not depend on the order of the map', () => {
  const one = encodeSafetensors(
    new Map([
      ['a', a],
      ['b', b],
    ]),
  )
  expect(one).toEqual(
    encodeSafetensors(
      new Map([
        ['b', b],
        ['a', a],
      ]),
    ),
  )
  expect(one.length % 4).toBe(0)
})

test('half precision and bfloat16 are written again as they were, in the order of the reference', () => {
  // safetensors.torch.save of zeros: b F32 (3), aa F32 (1), a BF16 (2), c F16 (2)
  const header =
    '{"aa":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[3],"data_offsets":[4,16]},"a":{"dtype":"BF16","shape":[2],"data_offsets":[16,20]},"c":{"dtype":"F16","shape":[2],"data_offsets":[20,24]}}'
  const padded = header.padEnd(Math.ceil(header.length / 8) * 8)
  const content = withHeader(padded, 24)
  content.set([1, 2, 3, 4, 5, 6, 7, 8], content.length - 8)
  writeFileSync(path, content)
  using file = openSafetensors(path)
  const tensors = new Map([...file.tensors].map(([name, stored]) => [name, tensorData(stored)]))
  expect(Buffer.from(encodeSafetensors(tensors)).equals(content)).toBe(true)
})

test('half precision and bfloat16 are read as float32, integers are refused when read', () => {
  const header = JSON.stringify({
    h: { dtype: 'F16', shape: [2], data_offsets: [0, 4] },
    t: { dtype: 'BF16', shape: [1], data_offsets: [4, 6] },
    i: { dtype: 'I64', shape: [1], data_offsets: [6, 14] },
  })
  const content = withHeader(header, 14)
  content.set([0x00, 0x3c, 0x00, 0xc0, 0x40, 0x40], 8 + header.length)
  writeFileSync(path, content)
  using file = openSafetensors(path)
  expect([...(file.tensors.get('h')?.read() ?? [])]).toEqual([1, -2])
  expect([...(file.tensors.get('t')?.read() ?? [])]).toEqual([3])
  expect(() => file.tensors.get('i')?.read()).toThrow(/tensor i: is stored as I64/)
})

describe('a file that nobody should trust', () => {
  const entry = (value: object): string => JSON.stringify({ x: value })
  const cases: [string, Buffer, RegExp][] = [
    ['empty', Buffer.alloc(0), /header length/],
    ['a header longer than the file', withHeader('{}', 0, 1e9), /header length: 1000000000 bytes/],
    ['a header length of 2^64 − 1', Buffer.alloc(16, 0xff), /header length/],
    ['a header that is not JSON', withHeader('{x', 0), /header: is not a JSON object/],
    ['a header that is a list', withHeader('[]', 0), /header: is not a JSON object/],
    ['a header that is not UTF-8', withHeader('\u00ff\u00fe', 0, 2), /header/],
    ['an entry that is not one', withHeader(entry({ dtype: 'F32' }), 0), /header of x/],
    [
      'a negative size',
      withHeader(entry({ dtype: 'F32', shape: [-1], data_offsets: [0, 4] }), 4),
      /header of x/,
    ],
    [
      'a huge shape',
      withHeader(entry({ dtype: 'F32', shape: [2 ** 50, 2 ** 50], data_offsets: [0, 4] }), 4),
      /tensor x: the shape/,
    ],
    [
      'a shape of another size',
      withHeader(entry({ dtype: 'F32', shape: [2], data_offsets: [0, 4] }), 4),
      /tensor x: the shape 2 as F32/,
    ],
    [
      'offsets past the end',
      withHeader(entry({ dtype: 'F32', shape: [2], data_offsets: [0, 8] }), 4),
      /truncated/,
    ],
    [
      'offsets the wrong way',
      withHeader(entry({ dtype: 'F32', shape: [0], data_offsets: [4, 0] }), 4),
      /tensor x/,
    ],
    [
      'a hole',
      withHeader(entry({ dtype: 'F32', shape: [1], data_offsets: [4, 8] }), 8),
      /tensor x: its bytes 4 to 8/,
    ],
    [
      'bytes that belong to nothing',
      withHeader(entry({ dtype: 'F32', shape: [1], data_offsets: [0, 4] }), 8),
      /4 bytes at the end/,
    ],
    [
      'an unknown type',
      withHeader(entry({ dtype: 'F3', shape: [1], data_offsets: [0, 4] }), 4),
      /unknown type F3/,
    ],
    ['metadata that is not text', withHeader('{"__metadata__":{"a":1}}', 0), /__metadata__/],
  ]
  test.each(cases)('%s is refused with the file and the field', (_name, content, problem) => {
    writeFileSync(path, content)
    let thrown: unknown
    try {
      openSafetensors(path)[Symbol.dispose]()
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(ShadowError)
    expect(thrown).toMatchObject({ code: 'invalid_file', message: expect.stringMatching(problem) })
    expect(thrown).toMatchObject({ message: expect.stringContaining(path) })
  })
})
