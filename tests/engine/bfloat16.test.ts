/** Frozen weights in bfloat16: what they hold, generation to the last bit, products within bfloat16's rounding. */
import { describe, expect, test } from 'vitest'
import { Runtime, type Tensor } from '../../src/engine/index.ts'
import { bfloat16, inBfloat16, packAffine, quantizeAffine, quantizing } from '../../src/engine/nn/quantize.ts'
import { FrozenMatrix, type Packing } from '../../src/engine/tensor/frozen-matrix.ts'
import { linearCrossEntropy, loraLinear } from '../../src/engine/tensor/fused.ts'
import * as ops from '../../src/engine/tensor/ops.ts'
import { key, normal } from '../../src/engine/tensor/random.ts'
import { relativeError } from './tiny-llama.ts'

const runtime = new Runtime()
const exact: Packing = { ...bfloat16, products: 'float32' }

function random(shape: number[], seed: number): Tensor {
  return runtime.fromFloat32(normal(key(runtime, seed), shape).toFloat32Array(), shape)
}

function matrix(rows: number, columns: number, seed: number, packing: Packing): FrozenMatrix {
  const { handle } = random([rows, columns], seed)
  return new FrozenMatrix(runtime.wrap(runtime.native.packBfloat16(handle)), packing)
}

/** x·Wᵀ + LoRA + residual and its gradients, for a fixed weighting of the result. */
function products(rows: number, columns: number, outputs: number, weight: FrozenMatrix): Float32Array[] {
  const weighting = random([rows, outputs], 6)
  const inputs = [
    random([rows, columns], 7),
    random([2, columns], 8),
    random([outputs, 2], 9),
    random([rows, outputs], 10),
  ]
  const { gradients, auxiliary } = runtime.valueAndGrad(([x, a, b, residual]) => {
    if (!x || !a || !b || !residual) throw new RangeError('four inputs')
    const value = loraLinear(x, weight, [outputs], { factors: [{ a, b }], scale: 0.5, residual })
    return { loss: ops.sum(ops.multiply(value, weighting)), auxiliary: [value] }
  }, inputs)
  return [...auxiliary, ...gradients].map((tensor) => tensor.toFloat32Array())
}

test('holds the nearest bfloat16, ties to even; infinities and NaN stay', () => {
  const values = Float32Array.of(1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, -5.3, Infinity, Number.NaN, 1e-40, 0)
  const packed = runtime.wrap(runtime.native.packBfloat16(runtime.fromFloat32(values, [1, 8]).handle))
  const expected = [1, 1, 1 + 2 ** -6, -5.3125, Infinity, Number.NaN]
  const held = [...new FrozenMatrix(packed, bfloat16).dequantized().toFloat32Array()]
  expect(held.slice(0, 6)).toEqual(expected)
  expect(held[6]).toBeCloseTo(1e-40, 40)
})

test.each([2, 34, 384])(
  'a generated row of %i columns is that of the unpacked matrix to the last bit',
  (k) => {
    const packed = matrix(75, k, 2, bfloat16)
    const x = random([9, k], 3)
    const all = loraLinear(x, packed.dequantized(), [75], { exactRows: true }).toFloat32Array()
    for (const rows of [1, 2, 3, 4, 5, 9]) {
      const part = loraLinear(ops.slice(x, [0, 0], [rows, k]), packed, [75], { exactRows: true })
      expect(part.toFloat32Array(), `${rows} rows`).toEqual(all.slice(0, rows * 75))
    }
  },
)

describe.each([
  [1, 2, 1],
  [1, 30, 33],
  [13, 66, 31],
  [29, 1030, 130],
  [200, 64, 1100],
])('%i rows of %i columns to %i', (rows, columns, outputs) => {
  test('float32 products equal those of the unpacked matrix', () => {
    const packed = matrix(outputs, columns, 5, exact)
    const actual = products(rows, columns, outputs, packed)
    products(rows, columns, outputs, new FrozenMatrix(packed.dequantized())).forEach((expected, index) => {
      expect(relativeError(actual[index] ?? new Float32Array(), expected), `${index}`).toBeLessThan(1e-5)
    })
  })

  test('bfloat16 products lie within the rounding of their operands', () => {
    const packed = matrix(outputs, columns, 5, bfloat16)
    const actual = products(rows, columns, outputs, packed)
    products(rows, columns, outputs, new FrozenMatrix(packed.dequantized())).forEach((expected, index) => {
      expect(relativeError(actual[index] ?? new Float32Array(), expected), `${index}`).toBeLessThan(4e-3)
    })
  })
})

test('bfloat16 products of numbers that bfloat16 holds are exact to float32 sums, packed codes included', () => {
  const whole = (count: number): Float32Array =>
    Float32Array.from({ length: count }, (_, i) => ((i * 37) % 15) - 7)
  const [rows, k, n] = [30, 96, 70]
  const x = runtime.fromFloat32(whole(rows * k), [rows, k])
  const dense = runtime.fromFloat32(whole(n * k), [n, k])
  const packed = new FrozenMatrix(runtime.wrap(runtime.native.packBfloat16(dense.handle)), bfloat16)
  const expected = ops.matmul(x, ops.transpose(dense)).toFloat32Array()
  expect(loraLinear(x, packed, [n]).toFloat32Array()).toEqual(expected)
})

test('cross-entropy through a bfloat16 head', () => {
  const head = matrix(1000, 128, 11, bfloat16)
  const run = (weight: FrozenMatrix): Float32Array[] => {
    const indices = Int32Array.from({ length: 300 }, (_, i) => (i * 37) % 290)
    const { loss, gradients } = runtime.valueAndGrad(
      ([hidden]) => {
        if (!hidden) throw new RangeError('one input')
        const rows = runtime.fromInt32(indices)
        return { loss: ops.sum(linearCrossEntropy(hidden, weight, rows, rows, true)) }
      },
      [random([290, 128], 12)],
    )
    return [loss, ...gradients].map((tensor) => tensor.toFloat32Array())
  }
  const actual = run(head)
  run(new FrozenMatrix(head.dequantized())).forEach((expected, index) => {
    expect(relativeError(actual[index] ?? new Float32Array(), expected), `${index}`).toBeLessThan(4e-3)
  })
})

test.each([
  [4, 32, 192, 70],
  [4, 128, 1152, 300],
  [8, 64, 192, 70],
] as const)('%i-bit codes in groups of %i multiply in bfloat16 too', (bits, groupSize, columns, outputs) => {
  const packing: Packing = { bits, groupSize, scales: 'float32' }
  const { tensor } = FrozenMatrix.ofRows(
    packAffine(quantizeAffine(random([outputs, columns], 5), packing), packing),
    packing,
  )
  const actual = products(
    40,
    columns,
    outputs,
    new FrozenMatrix(tensor, { ...packing, products: 'bfloat16' }),
  )
  products(40, columns, outputs, new FrozenMatrix(tensor, packing)).forEach((expected, index) => {
    expect(relativeError(actual[index] ?? new Float32Array(), expected), `${index}`).toBeLessThan(4e-3)
  })
})

test('inBfloat16 keeps what is packed, rounds the other matrices and leaves the rest', () => {
  const packing: Packing = { bits: 4, groupSize: 32, scales: 'float16' }
  const data = new Float32Array(64).fill(0.5)
  const dense = new Map([
    ['matrix', { shape: [2, 32], data }],
    ['norm', { shape: [64], data }],
    ['odd', { shape: [64, 1], data }],
  ])
  const source = inBfloat16(quantizing(dense, packing))
  expect(source.packed?.('matrix')?.packing).toEqual({ ...packing, products: 'bfloat16' })
  expect(inBfloat16(dense).packed?.('matrix')?.packing).toEqual(bfloat16)
  for (const name of ['norm', 'odd']) expect(inBfloat16(dense).packed?.(name)).toBeUndefined()
})
