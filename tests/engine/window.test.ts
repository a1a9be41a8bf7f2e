import { describe, expect, test } from 'vitest'
import { Runtime, type Tensor } from '../../src/engine/index.ts'
import * as fused from '../../src/engine/tensor/fused.ts'
import * as ops from '../../src/engine/tensor/ops.ts'
import { key, normal } from '../../src/engine/tensor/random.ts'
import { relativeError } from './tiny-llama.ts'

const runtime = new Runtime()
const shape = { query: 4, key: 2, dim: 8 }
const columns = (shape.query + 2 * shape.key) * shape.dim

function random(size: number[], seed: number): Tensor {
  const drawn = normal(key(runtime, seed), size)
  return runtime.fromFloat32(drawn.toFloat32Array(), size)
}

/** softmax over the last `window` keys of each query, with plain operations. */
function plain(qkv: Tensor, length: number, window: number, scale: number): Tensor {
  const part = (first: number, count: number, repeat: number): Tensor => {
    const { dim } = shape
    const heads = ops.slice(qkv, [0, first * dim], [length, (first + count) * dim])
    const grouped = ops.transpose(ops.reshape(heads, [length, count, 1, dim]), [1, 2, 0, 3])
    return ops.reshape(ops.broadcastTo(grouped, [count, repeat, length, dim]), [count * repeat, length, dim])
  }
  const index = Float32Array.from({ length }, (_, i) => i)
  const distance = ops.subtract(
    runtime.fromFloat32(index, [length, 1]),
    runtime.fromFloat32(index, [1, length]),
  )
  const seen = ops.multiply(
    ops.astype(ops.greaterEqual(distance, 0), 'float32'),
    ops.astype(ops.less(distance, window), 'float32'),
  )
  const repeat = shape.query / shape.key
  const scores = ops.multiply(
    ops.matmul(part(0, shape.query, 1), ops.transpose(part(shape.query, shape.key, repeat))),
    scale,
  )
  const weights = ops.softmax(ops.where(ops.greater(seen, 0), scores, -1e30))
  const out = ops.matmul(weights, part(shape.query + shape.key, shape.key, repeat))
  return ops.reshape(ops.transpose(out, [1, 0, 2]), [length, shape.query * shape.dim])
}

function differentiate(f: (qkv: Tensor) => Tensor, qkv: Tensor): [Float32Array, Float32Array] {
  return runtime.tidy(() => {
    const weights = random([qkv.axis(0), shape.query * shape.dim], 99)
    const { auxiliary, gradients } = runtime.valueAndGrad(
      ([traced]) => {
        if (traced === undefined) throw new Error('one parameter')
        const value = f(traced)
        return { loss: ops.sum(ops.multiply(value, weights)), auxiliary: [value] }
      },
      [qkv],
    )
    runtime.evaluate([...auxiliary, ...gradients])
    return [
      auxiliary[0]?.toFloat32Array() ?? new Float32Array(),
      gradients[0]?.toFloat32Array() ?? new Float32Array(),
    ]
  })
}

describe('attention with a sliding window', () => {
  test.each([
    [1, 1],
    [20, 1],
    [63, 5],
    [131, 64],
    [131, 17],
    [70, 200],
  ])('%i tokens that see %i: value and gradient of the plain formula, 1e-5 relative', (length, window) => {
    const qkv = random([length, columns], length + window)
    const scale = 0.21
    const [value, gradient] = differentiate(
      (x) => fused.attention(x, { segments: Int32Array.of(0, length) }, { ...shape, window, scale }),
      qkv,
    )
    const [expectedValue, expectedGradient] = differentiate((x) => plain(x, length, window, scale), qkv)
    expect(relativeError(value, expectedValue)).toBeLessThan(1e-5)
    expect(relativeError(gradient, expectedGradient)).toBeLessThan(1e-5)
  })
})

test('rope on a part of each head leaves the rest as it is', () => {
  const [rows, dim, turned] = [3, 8, 4]
  const x = random([rows, 3 * dim], 8)
  const angles = Float32Array.from({ length: (rows * turned) / 2 }, (_, i) => i)
  const size = [rows, turned / 2]
  const cosines = runtime.fromFloat32(angles.map(Math.cos), size)
  const sines = runtime.fromFloat32(angles.map(Math.sin), size)
  const whole = x.toFloat32Array()
  const rotated = fused.rope(x, cosines, sines, 2, dim).toFloat32Array()
  const back = fused.rope(runtime.fromFloat32(rotated, x.shape), cosines, ops.negative(sines), 2, dim)
  expect(relativeError(back.toFloat32Array(), whole)).toBeLessThan(1e-6)
  rotated.forEach((value, index) => {
    const column = index % (3 * dim)
    const fixed = column >= 2 * dim || column % dim >= turned
    if (fixed) expect(value).toBe(whole[index])
    else if (index >= 3 * dim) expect(value).not.toBe(whole[index])
  })
})
