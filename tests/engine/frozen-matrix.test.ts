/** Packed weights against the same weights unpacked. */
import { describe, expect, test } from 'vitest'
import { Runtime, type Tensor } from '../../src/engine/index.ts'
import { packAffine, quantizeAffine } from '../../src/engine/nn/quantize.ts'
import { FrozenMatrix, type Packing } from '../../src/engine/tensor/frozen-matrix.ts'
import { linearCrossEntropy, loraLinear } from '../../src/engine/tensor/fused.ts'
import * as ops from '../../src/engine/tensor/ops.ts'
import { key, normal } from '../../src/engine/tensor/random.ts'
import { relativeError } from './tiny-llama.ts'

const runtime = new Runtime()

function random(shape: number[], seed: number): Tensor {
  return runtime.fromFloat32(normal(key(runtime, seed), shape).toFloat32Array(), shape)
}

const packings: Packing[] = [
  { bits: 4, groupSize: 32, scales: 'float16' },
  { bits: 4, groupSize: 64, scales: 'float32' },
  { bits: 4, groupSize: 128, scales: 'bfloat16' },
  { bits: 8, groupSize: 32, scales: 'float16' },
  { bits: 8, groupSize: 64, scales: 'bfloat16' },
]

/** A random matrix, packed, and the float32 values that it stands for. */
function packedMatrix(rows: number, columns: number, packing: Packing, seed: number) {
  const parts = quantizeAffine(ops.astype(random([rows, columns], seed), packing.scales), packing)
  const codes = parts.codes.toInt32Array()
  const scales = parts.scales.toFloat32Array()
  const biases = parts.biases.toFloat32Array()
  const perWord = 32 / packing.bits
  const values = Float32Array.from({ length: rows * columns }, (_, i) => {
    const word = codes[Math.floor(i / perWord)] ?? 0
    const code = (word >>> ((i % perWord) * packing.bits)) & (2 ** packing.bits - 1)
    const group = Math.floor(i / packing.groupSize)
    return (scales[group] ?? 0) * code + (biases[group] ?? 0)
  })
  return { packed: FrozenMatrix.ofRows(packAffine(parts, packing), packing), values }
}

describe.each(packings)('$bits bits in groups of $groupSize, scales $scales', (packing) => {
  test('unpacks to scale · code + bias, all of it and row by row', () => {
    const { packed, values } = packedMatrix(13, 256, packing, 1)
    const all = packed.dequantized().toFloat32Array()
    // Processors without a fused multiply-add round twice.
    expect(relativeError(all, values)).toBeLessThan(1e-7)
    const rows = packed.rows(runtime.fromInt32([12, 0, 7])).toFloat32Array()
    const expected = [12, 0, 7].flatMap((row) => Array.from(all.subarray(row * 256, (row + 1) * 256)))
    expect([...rows]).toEqual(expected)
  })

  test('a generated row is that of the unpacked matrix to the last bit, whatever its batch mates', () => {
    const { packed } = packedMatrix(301, 384, packing, 2)
    const dense = packed.dequantized()
    const x = random([9, 384], 3)
    const residual = random([9, 301], 4)
    const all = loraLinear(x, dense, [301], { exactRows: true, residual }).toFloat32Array()
    for (const rows of [1, 2, 3, 4, 5, 9]) {
      const part = loraLinear(ops.slice(x, [0, 0], [rows, 384]), packed, [301], {
        exactRows: true,
        residual: ops.slice(residual, [0, 0], [rows, 301]),
      })
      expect(part.toFloat32Array(), `${rows} rows`).toEqual(all.slice(0, rows * 301))
    }
  })

  test.each([1, 7, 200])(
    'products of %i rows and their gradients are those of the unpacked matrix',
    (rows) => {
      const { packed } = packedMatrix(640, 512, packing, 5)
      const weights = random([rows, 640], 6)
      const run = (matrix: FrozenMatrix) => {
        const inputs = [
          random([rows, 512], 7),
          random([4, 512], 8),
          random([600, 4], 9),
          random([rows, 640], 10),
        ]
        const { loss, gradients, auxiliary } = runtime.valueAndGrad(([x, a, b, residual]) => {
          if (!x || !a || !b || !residual) throw new RangeError('four inputs')
          const value = loraLinear(x, matrix, [600, 40], { factors: [{ a, b }, null], scale: 0.5, residual })
          return { loss: ops.sum(ops.multiply(value, weights)), auxiliary: [value] }
        }, inputs)
        return [loss, ...auxiliary, ...gradients].map((tensor) => tensor.toFloat32Array())
      }
      const actual = run(packed)
      run(new FrozenMatrix(packed.dequantized())).forEach((expected, index) => {
        expect(relativeError(actual[index] ?? new Float32Array(), expected), `${index}`).toBeLessThan(2e-6)
      })
    },
  )

  test('cross-entropy through a packed head', () => {
    const { packed } = packedMatrix(1000, 128, packing, 11)
    const targets = Int32Array.from({ length: 300 }, (_, i) => (i * 37) % 1000)
    const rows = Int32Array.from({ length: 300 }, (_, i) => i % 290)
    const run = (head: FrozenMatrix) => {
      const { loss, gradients } = runtime.valueAndGrad(
        ([hidden]) => {
          if (!hidden) throw new RangeError('one input')
          const nll = linearCrossEntropy(
            hidden,
            head,
            runtime.fromInt32(rows),
            runtime.fromInt32(targets),
            true,
          )
          return { loss: ops.sum(nll) }
        },
        [random([290, 128], 12)],
      )
      return [loss, ...gradients].map((tensor) => tensor.toFloat32Array())
    }
    const actual = run(packed)
    run(new FrozenMatrix(packed.dequantized())).forEach((expected, index) => {
      expect(relativeError(actual[index] ?? new Float32Array(), expected), `${index}`).toBeLessThan(2e-6)
    })
  })
})

test('the gradient to the input is that of finite differences in float64', () => {
  const packing: Packing = { bits: 4, groupSize: 32, scales: 'float16' }
  const { packed, values } = packedMatrix(6, 64, packing, 13)
  const x = random([3, 64], 14)
  const weights = random([3, 6], 15).toFloat32Array()
  const { gradients } = runtime.valueAndGrad(
    ([input]) => {
      if (!input) throw new RangeError('one input')
      return {
        loss: ops.sum(ops.multiply(loraLinear(input, packed, [6]), runtime.fromFloat32(weights, [3, 6]))),
      }
    },
    [x],
  )
  const at = Float64Array.from(x.toFloat32Array())
  const loss = (): number => {
    let total = 0
    for (let i = 0; i < 3; i++)
      for (let j = 0; j < 6; j++)
        for (let p = 0; p < 64; p++)
          total += (weights[i * 6 + j] ?? 0) * (at[i * 64 + p] ?? 0) * (values[j * 64 + p] ?? 0)
    return total
  }
  const numeric = Float32Array.from(at, (original, element) => {
    at[element] = original + 1e-4
    const above = loss()
    at[element] = original - 1e-4
    const below = loss()
    at[element] = original
    return (above - below) / 2e-4
  })
  expect(relativeError(gradients[0]?.toFloat32Array() ?? new Float32Array(), numeric)).toBeLessThan(1e-3)
})

test('refuses rows that are not what their packing says', () => {
  const packing: Packing = { bits: 4, groupSize: 32, scales: 'float16' }
  const { packed } = packedMatrix(4, 64, packing, 16)
  const wrong = new FrozenMatrix(packed.tensor, { ...packing, groupSize: 128 })
  expect(() => loraLinear(random([2, 64], 17), wrong, [4])).toThrow('packing')
  expect(() => loraLinear(random([2, 96], 17), packed, [4])).toThrow('x (rows, k)')
})
