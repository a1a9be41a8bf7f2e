import { describe, expect, test } from 'vitest'
import { Runtime, type Tensor } from '../../src/engine/index.ts'
import * as fused from '../../src/engine/tensor/fused.ts'
import * as ops from '../../src/engine/tensor/ops.ts'
import { kernelChecks } from './kernel-checks.ts'

const runtime = new Runtime()
const { random, expectSame, expectDerivative } = kernelChecks(runtime)

/** Rotates the first heads of each row; f64. */
function rotate(
  x: Float64Array,
  columns: number,
  heads: number,
  dim: number,
  angles: Float64Array,
): Float64Array {
  const half = dim / 2
  const y = Float64Array.from(x)
  for (let r = 0; r * columns < x.length; r++)
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < half; i++) {
        const at = r * columns + h * dim + i
        const angle = angles[r * half + i] ?? 0
        const [first, second] = [x[at] ?? 0, x[at + half] ?? 0]
        y[at] = first * Math.cos(angle) - second * Math.sin(angle)
        y[at + half] = second * Math.cos(angle) + first * Math.sin(angle)
      }
  return y
}

test('rope: value and derivative in f64, columns beyond the rotated heads untouched', () => {
  const [rows, heads, dim, columns] = [5, 3, 6, 24]
  const angles = Float64Array.from({ length: (rows * dim) / 2 }, (_, i) => i * 0.37)
  const shape = [rows, dim / 2]
  const cosines = runtime.fromFloat32(Float32Array.from(angles, Math.cos), shape)
  const sines = runtime.fromFloat32(Float32Array.from(angles, Math.sin), shape)
  expectDerivative(
    ([x]) => {
      if (x === undefined) throw new Error('one input')
      return fused.rope(x, cosines, sines, heads, dim)
    },
    ([x = new Float64Array()]) => rotate(x, columns, heads, dim, angles),
    [random([rows, columns], 4)],
  )
})

/** Causal grouped attention within segments; f64. */
function attend(qkv: Float64Array, segments: readonly number[], heads: fused.Heads): Float64Array {
  const { query, key: keys, dim } = heads
  const columns = (query + 2 * keys) * dim
  const tokens = qkv.length / columns
  const out = new Float64Array(tokens * query * dim)
  const at = (token: number, head: number, d: number): number => qkv[token * columns + head * dim + d] ?? 0
  segments.slice(0, -1).forEach((start, s) => {
    for (let i = start; i < (segments[s + 1] ?? 0); i++)
      for (let h = 0; h < query; h++) {
        const keyHead = query + Math.floor((h * keys) / query)
        const scores: number[] = []
        for (let j = start; j <= i; j++) {
          let dot = 0
          for (let d = 0; d < dim; d++) dot += at(i, h, d) * at(j, keyHead, d)
          scores.push(dot / Math.sqrt(dim))
        }
        const top = Math.max(...scores)
        const weights = scores.map((score) => Math.exp(score - top))
        const total = weights.reduce((sum, weight) => sum + weight, 0)
        for (let d = 0; d < dim; d++)
          out[i * query * dim + h * dim + d] = weights.reduce(
            (sum, weight, j) => sum + (weight / total) * at(start + j, keyHead + keys, d),
            0,
          )
      }
  })
  return out
}

describe('attention', () => {
  test.each([
    ['one token', [0, 1], { query: 2, key: 1, dim: 4 }],
    ['ragged segments and groups of three', [0, 5, 6, 13], { query: 6, key: 2, dim: 6 }],
    ['an empty segment', [0, 3, 3, 7], { query: 2, key: 2, dim: 8 }],
  ])('%s: value and derivative in f64', (_, segments, heads) => {
    const tokens = segments.at(-1) ?? 0
    expectDerivative(
      ([qkv]) => {
        if (qkv === undefined) throw new Error('one input')
        return fused.attention(qkv, { segments: Int32Array.from(segments) }, heads)
      },
      ([qkv = new Float64Array()]) => attend(qkv, segments, heads),
      [random([tokens, (heads.query + 2 * heads.key) * heads.dim], 5)],
    )
  })

  test('lengths around the blocks of queries equal the plain formula', () => {
    const heads = { query: 4, key: 2, dim: 32 }
    for (const length of [63, 64, 65, 131]) {
      const kernel = ([qkv]: Tensor[]): Tensor => {
        if (qkv === undefined) throw new Error('one input')
        return fused.attention(qkv, { segments: Int32Array.of(0, length) }, heads)
      }
      const plain = ([qkv]: Tensor[]): Tensor => {
        if (qkv === undefined) throw new Error('one input')
        const part = (first: number, count: number): Tensor =>
          ops.transpose(
            ops.reshape(ops.slice(qkv, [0, first * heads.dim], [length, (first + count) * heads.dim]), [
              length,
              count,
              heads.dim,
            ]),
            [1, 0, 2],
          )
        const grouped = (x: Tensor): Tensor =>
          ops.reshape(
            ops.broadcastTo(ops.reshape(x, [heads.key, 1, length, heads.dim]), [
              heads.key,
              2,
              length,
              heads.dim,
            ]),
            [heads.query, length, heads.dim],
          )
        const q = part(0, heads.query)
        const k = grouped(part(heads.query, heads.key))
        const v = grouped(part(heads.query + heads.key, heads.key))
        const index = Float32Array.from({ length }, (_, i) => i)
        const mask = ops.greaterEqual(
          runtime.fromFloat32(index, [length, 1]),
          runtime.fromFloat32(index, [1, length]),
        )
        const scores = ops.divide(ops.matmul(q, ops.transpose(k)), Math.sqrt(heads.dim))
        const out = ops.matmul(ops.softmax(ops.where(mask, scores, -1e30)), v)
        return ops.reshape(ops.transpose(out, [1, 0, 2]), [length, heads.query * heads.dim])
      }
      expectSame(kernel, plain, [random([length, 8 * heads.dim], length)])
    }
  })

  test.each([
    ['all of the path', 0],
    ['a window of three tokens', 3],
  ])('a tree seen by its paths, %s: value and gradient', (_, window) => {
    // Runs 0–3, 4–5 under 0, 6 under 1, 7–9 under 0, and a second root 10–11.
    const runs = { segments: Int32Array.of(0, 4, 6, 7, 10, 12), parents: Int32Array.of(-1, 0, 1, 0, -1) }
    const paths = [
      [0, 1, 2, 3, 4, 5, 6],
      [0, 1, 2, 3, 7, 8, 9],
      [10, 11],
    ]
    const heads = { query: 4, key: 2, dim: 16, ...(window === 0 ? {} : { window }) }
    const columns = 8 * heads.dim
    const tree = ([qkv]: Tensor[]): Tensor => {
      if (qkv === undefined) throw new Error('one input')
      return fused.attention(qkv, runs, heads)
    }
    const plain = ([qkv]: Tensor[]): Tensor => {
      if (qkv === undefined) throw new Error('one input')
      const alone = paths.map((path) =>
        fused.attention(
          ops.take(qkv, runtime.fromInt32(Int32Array.from(path))),
          { segments: Int32Array.of(0, path.length) },
          heads,
        ),
      )
      const [first, second, third] = alone
      if (first === undefined || second === undefined || third === undefined) throw new Error('three paths')
      const width = heads.query * heads.dim
      return ops.concatenate([first, ops.slice(second, [4, 0], [7, width]), third], 0)
    }
    expectSame(tree, plain, [random([12, columns], 6)])
  })

  test('runs that do not come depth-first are refused', () => {
    const heads = { query: 1, key: 1, dim: 4 }
    const qkv = random([3, 12], 1)
    for (const parents of [Int32Array.of(0, -1, -1), Int32Array.of(-1, -1, 0), Int32Array.of(-1)])
      expect(() => fused.attention(qkv, { segments: Int32Array.of(0, 1, 2, 3), parents }, heads)).toThrow(
        'attention',
      )
  })

  test('scores of ±1e4 stay finite', () => {
    const heads = { query: 1, key: 1, dim: 4 }
    const qkv = runtime.fromFloat32(
      Float32Array.from({ length: 60 }, (_, i) => (i % 2 === 0 ? 100 : -100)),
      [5, 12],
    )
    expect(
      fused
        .attention(qkv, { segments: Int32Array.of(0, 5) }, heads)
        .toFloat32Array()
        .every(Number.isFinite),
    ).toBe(true)
  })
})
