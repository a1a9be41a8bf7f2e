/** GGUF's simple quantised types kept packed, against the same blocks decoded to float32. */
import { describe, expect, test } from 'vitest'
import { packBlocks } from '../../src/engine/io/ggml-pack.ts'
import { ggmlTypes } from '../../src/engine/io/ggml-types.ts'
import { weightSource } from '../../src/engine/io/weight-source.ts'
import { Runtime } from '../../src/engine/index.ts'
import { FrozenMatrix } from '../../src/engine/tensor/frozen-matrix.ts'
import { openDefaultModel } from './default-model.ts'

const runtime = new Runtime()

/** Blocks of seeded bytes with scales in a sensible range, and two of the smallest. */
function blocks(count: number, blockBytes: number): Uint8Array<ArrayBuffer> {
  const bytes = Uint8Array.from({ length: count * blockBytes }, (_, i) => Math.imul(i + 7, 2654435761) >>> 24)
  for (let block = 0; block < count; block++) {
    for (const at of [1, 3]) {
      const high = block * blockBytes + at
      if (at < blockBytes - 30 || blockBytes === 20) bytes[high] = ((bytes[high] ?? 0) & 0x83) | 0x24
    }
    bytes[block * blockBytes + 1] = block < 2 ? 0 : ((bytes[block * blockBytes + 1] ?? 0) & 0x83) | 0x24
  }
  return bytes
}

describe.each([...ggmlTypes.values()].filter(({ name }) => ['Q4_0', 'Q4_1', 'Q8_0'].includes(name)))(
  '$name',
  ({ name, blockBytes, decode }) => {
    test('packed blocks have the values that decoding gives, to the last bit', () => {
      const source = blocks(6 * 4, blockBytes)
      const packed = packBlocks(name, source, 6, 128)
      if (packed === undefined) throw new Error('Not packed.')
      const tensor = runtime.fromBytes(
        new Uint8Array(packed.words.buffer),
        [6, packed.words.length / 6],
        'uint32',
      )
      const values = FrozenMatrix.ofRows(tensor, packed.packing).dequantized().toFloat32Array()
      // The sign of a zero may differ: adding zero takes it away.
      const expected = decode?.(source).map((value) => value + 0)
      expect(values.map((value) => value + 0)).toEqual(expected)
    })
  },
)

test('a scale that is not finite, or too large for its bias, is left to float32', () => {
  const source = new Uint8Array(34)
  source.set([0x00, 0x7c])
  expect(packBlocks('Q8_0', source, 1, 32)).toBeUndefined()
  source.set([0x00, 0x62])
  expect(packBlocks('Q8_0', source, 1, 32)).toBeUndefined()
  source.set([0x00, 0x3c])
  expect(packBlocks('Q8_0', source, 1, 32)).toBeDefined()
  expect(packBlocks('Q6_K', new Uint8Array(210), 1, 256)).toBeUndefined()
})

test('the first layer of the default model: rows of query and key in the order of rotate-half', () => {
  using file = openDefaultModel()
  const source = weightSource(file.tensors, 'keep')
  const names = [...file.tensors.keys()].filter(
    (name) => name.startsWith('model.layers.0.') && name.includes('proj'),
  )
  expect(names).toHaveLength(7)
  for (const name of names) {
    const packed = source.packed?.(name)
    if (packed === undefined) throw new Error(`${name} is not packed.`)
    const values = runtime.tidy(() =>
      FrozenMatrix.ofRows(packed.upload(runtime), packed.packing).dequantized().toFloat32Array(),
    )
    const expected = source.get(name)?.data ?? new Float32Array()
    expect(values.length).toBe(expected.length)
    expect(
      values.findIndex((value, i) => value !== expected[i]),
      name,
    ).toBe(-1)
  }
})
