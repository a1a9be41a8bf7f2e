import { describe, expect, test } from 'vitest'
import {
  AdamW,
  clipScale,
  GradientAccumulator,
  globalNorm,
  Runtime,
  type Tensor,
} from '../../src/engine/index.ts'
import * as fused from '../../src/engine/tensor/fused.ts'
import * as ops from '../../src/engine/tensor/ops.ts'
import { kernelChecks } from './kernel-checks.ts'
import { relativeError } from './tiny-llama.ts'

const runtime = new Runtime()
const { random, differentiate, expectSame, expectDerivative } = kernelChecks(runtime)

describe('rmsNorm', () => {
  const plain = ([x, w]: Tensor[], eps = 1e-5): Tensor => {
    if (x === undefined || w === undefined) throw new Error('two inputs')
    const scale = ops.rsqrt(ops.add(ops.mean(ops.square(x), { axes: [-1], keepDims: true }), eps))
    return ops.multiply(ops.multiply(x, scale), w)
  }
  const kernel = ([x, w]: Tensor[]): Tensor => {
    if (x === undefined || w === undefined) throw new Error('two inputs')
    return fused.rmsNorm(x, w, 1e-5)
  }

  test.each([
    [1, 2],
    [3, 17],
    [40, 576],
  ])('%i × %i equals the plain formula', (rows, d) => {
    expectSame(kernel, plain, [random([rows, d], 1), random([d], 2)])
  })

  test('derivative in f64', () => {
    const [rows, d] = [3, 17]
    expectDerivative(
      kernel,
      ([x = new Float64Array(), w = new Float64Array()]) => {
        const y = new Float64Array(rows * d)
        for (let r = 0; r < rows; r++) {
          const row = x.subarray(r * d, (r + 1) * d)
          const scale = 1 / Math.sqrt(row.reduce((total, v) => total + v * v, 0) / d + 1e-5)
          row.forEach((v, i) => {
            y[r * d + i] = v * scale * (w[i] ?? 0)
          })
        }
        return y
      },
      [random([rows, d], 1), random([d], 2)],
    )
  })
})

/** Every kernel that takes rows, on 13 rows of prime widths. */
const rowKernels: readonly [name: string, columns: number, kernel: (x: Tensor) => Tensor][] = [
  ['rmsNorm', 31, (x) => fused.rmsNorm(x, random([31], 41), 1e-5)],
  ['gatedActivation', 2 * 37, (x) => fused.gatedActivation(x, 'silu')],
  [
    'attention',
    3 * 23,
    (x) => fused.attention(x, { segments: Int32Array.of(0, 0, 5, 13) }, { query: 1, key: 1, dim: 23 }),
  ],
  ['rope', 29, (x) => fused.rope(x, random([13, 11], 42), random([13, 11], 43), 1, 29)],
  ['loraLinear', 47, (x) => fused.loraLinear(x, random([53, 47], 44), [53])],
  ['loraLinear, exact rows', 47, (x) => fused.loraLinear(x, random([53, 47], 44), [53], { exactRows: true })],
  [
    'linearCrossEntropy',
    43,
    (x) => {
      const rows = runtime.fromInt32([0, 12, 3])
      return fused.linearCrossEntropy(x, random([59, 43], 45), rows, runtime.fromInt32([58, 0, 7]), false)
    },
  ],
]

describe.each(rowKernels)('%s', (_name, columns, kernel) => {
  test('a view that lies askew in memory gives what its copy gives, to the last bit', () => {
    const around = random([14, columns + 3], 40)
    const view = ops.slice(around, [1, 1], [14, 1 + columns])
    const copy = runtime.fromFloat32(view.toFloat32Array(), [13, columns])
    expect(kernel(view).toFloat32Array()).toEqual(kernel(copy).toFloat32Array())
  })

  test.each([1e-42, 1e-20, 1e4])('of values around %d come numbers', (magnitude) => {
    const x = ops.multiply(random([13, columns], 46), magnitude)
    expect(kernel(x).toFloat32Array().every(Number.isFinite)).toBe(true)
  })
})

describe('embedding', () => {
  test('takes rows, and gives each the sum of what came back for it', () => {
    const ids = [4, 0, 4, 6, 4]
    const weight = random([7, 19], 12)
    const { value, gradients, weights } = differentiate(
      ([w]) => {
        if (w === undefined) throw new Error('one input')
        return fused.embedding(w, runtime.fromInt32(ids))
      },
      [weight],
    )
    const rows = weight.toFloat32Array()
    expect([...value]).toEqual(ids.flatMap((id) => [...rows.subarray(id * 19, (id + 1) * 19)]))
    const expected = new Float32Array(7 * 19)
    ids.forEach((id, t) => {
      for (let j = 0; j < 19; j++)
        expected[id * 19 + j] = Math.fround((expected[id * 19 + j] ?? 0) + (weights[t * 19 + j] ?? 0))
    })
    expect(gradients[0]).toEqual(expected)
  })
})

/** By formula, in f64. */
const activations = {
  silu: (x: number) => x / (1 + Math.exp(-x)),
  gelu_tanh: (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
}

describe.each(['silu', 'gelu_tanh'] as const)('gatedActivation: %s', (activation) => {
  const kernel = ([x]: Tensor[]): Tensor => {
    if (x === undefined) throw new Error('one input')
    return fused.gatedActivation(x, activation)
  }
  const act = (gate: Tensor): Tensor => {
    if (activation === 'silu') return ops.multiply(gate, ops.sigmoid(gate))
    const inner = ops.add(gate, ops.multiply(ops.multiply(ops.square(gate), gate), 0.044715))
    const tanh = ops.tanh(ops.multiply(inner, Math.sqrt(2 / Math.PI)))
    return ops.multiply(ops.multiply(gate, 0.5), ops.add(tanh, 1))
  }

  test.each([
    [1, 1],
    [5, 23],
    [33, 64],
  ])('%i × %i equals the plain formula', (rows, n) => {
    const plain = ([x]: Tensor[]): Tensor => {
      if (x === undefined) throw new Error('one input')
      return ops.multiply(act(ops.slice(x, [0, 0], [rows, n])), ops.slice(x, [0, n], [rows, 2 * n]))
    }
    expectSame(kernel, plain, [random([rows, 2 * n], 3)])
  })

  test('derivative in f64', () => {
    const [rows, n] = [2, 9]
    expectDerivative(
      kernel,
      ([x = new Float64Array()]) =>
        Float64Array.from({ length: rows * n }, (_, index) => {
          const at = Math.floor(index / n) * 2 * n + (index % n)
          return activations[activation](x[at] ?? 0) * (x[at + n] ?? 0)
        }),
      [random([rows, 2 * n], 3)],
    )
  })

  test('large magnitudes stay finite', () => {
    const x = runtime.fromFloat32(Float32Array.of(1e4, -1e4, 2, 2), [1, 4])
    const { value, gradients } = differentiate(kernel, [x])
    expect(value[0]).toBe(2e4)
    expect(value[1]).toBeCloseTo(0, 20)
    expect(gradients.every((gradient) => gradient.every(Number.isFinite))).toBe(true)
  })
})

describe('loraLinear', () => {
  test.each([
    [1, 1, [1], 1],
    [7, 19, [5, 33, 2], 3],
    [150, 64, [96, 32], 16],
  ])('%i rows of %i to %j with rank %i equals the plain formula', (rows, k, outputs, r) => {
    const total = outputs.reduce((sum, n) => sum + n, 0)
    const weight = random([total, k], 6)
    const adapted = outputs.map((_, index) => index !== 1)
    const factorInputs = outputs.flatMap((n, index) =>
      adapted[index] === true ? [random([r, k], 10 + index), random([n, r], 20 + index)] : [],
    )
    const factorsFrom = (inputs: Tensor[]): (fused.LoraFactors | null)[] => {
      let next = 2
      return outputs.map((_, index) => {
        if (adapted[index] !== true) return null
        const [a, b] = [inputs[next++], inputs[next++]]
        if (a === undefined || b === undefined) throw new Error('factors')
        return { a, b }
      })
    }
    const kernel = (inputs: Tensor[]): Tensor => {
      const [x, residual] = inputs
      if (x === undefined || residual === undefined) throw new Error('inputs')
      return fused.loraLinear(x, weight, outputs, { factors: factorsFrom(inputs), scale: 2, residual })
    }
    const plain = (inputs: Tensor[]): Tensor => {
      const [x, residual] = inputs
      if (x === undefined || residual === undefined) throw new Error('inputs')
      const deltas = factorsFrom(inputs).map((pair, index) =>
        pair === null
          ? runtime.full([rows, outputs[index] ?? 0], 0)
          : ops.multiply(ops.matmul(ops.matmul(x, ops.transpose(pair.a)), ops.transpose(pair.b)), 2),
      )
      const [first, ...rest] = deltas
      if (first === undefined) throw new Error('outputs')
      const base = ops.matmul(x, ops.transpose(weight))
      return ops.add(ops.add(base, residual), ops.concatenate([first, ...rest], 1))
    }
    expectSame(kernel, plain, [random([rows, k], 7), random([rows, total], 8), ...factorInputs])
  })

  test('derivative in f64', () => {
    const [rows, k, n, r] = [3, 5, 4, 2]
    const weight = random([n, k], 6)
    const w = Float64Array.from(weight.toFloat32Array())
    expectDerivative(
      ([x, a, b]) => {
        if (x === undefined || a === undefined || b === undefined) throw new Error('inputs')
        return fused.loraLinear(x, weight, [n], { factors: [{ a, b }], scale: 0.5 })
      },
      ([x = new Float64Array(), a = new Float64Array(), b = new Float64Array()]) =>
        Float64Array.from({ length: rows * n }, (_, index) => {
          const [row, column] = [Math.floor(index / n), index % n]
          let y = 0
          for (let i = 0; i < k; i++) {
            let full = w[column * k + i] ?? 0
            for (let j = 0; j < r; j++) full += 0.5 * (b[column * r + j] ?? 0) * (a[j * k + i] ?? 0)
            y += (x[row * k + i] ?? 0) * full
          }
          return y
        }),
      [random([rows, k], 7), random([r, k], 8), random([n, r], 9)],
    )
  })

  test('exact rows: a row is the same alone and among others', () => {
    const [k, n] = [75, 37]
    const x = random([29, k], 1)
    const weight = random([n, k], 2)
    const all = fused.loraLinear(x, weight, [n], { exactRows: true }).toFloat32Array()
    const plain = ops.matmul(x, ops.transpose(weight)).toFloat32Array()
    expect(relativeError(all, plain)).toBeLessThan(1e-6)
    for (const [start, stop] of [
      [0, 1],
      [3, 8],
      [5, 29],
    ] as const) {
      const some = fused.loraLinear(ops.slice(x, [start, 0], [stop, k]), weight, [n], { exactRows: true })
      expect(some.toFloat32Array()).toEqual(all.subarray(start * n, stop * n))
    }
  })
})

describe('linearCrossEntropy', () => {
  test.each([
    [4, 6, 11, [0, 2, 2, 3]],
    [300, 16, 50, Array.from({ length: 290 }, (_, i) => i + 5)],
  ])(
    '%i tokens of %i, vocabulary %i: value and gradient equal the plain formula',
    (tokens, h, vocabulary, rows) => {
      const weight = random([vocabulary, h], 11)
      const targets = runtime.fromInt32(rows.map((row) => (row * 7 + 3) % vocabulary))
      const index = runtime.fromInt32(rows)
      expectSame(
        ([hidden]) => {
          if (hidden === undefined) throw new Error('one input')
          return fused.linearCrossEntropy(hidden, weight, index, targets, true)
        },
        ([hidden]) => {
          if (hidden === undefined) throw new Error('one input')
          const logits = ops.matmul(ops.take(hidden, index), ops.transpose(weight))
          const picked = ops.takeAlongAxis(logits, ops.reshape(targets, [rows.length, 1]))
          return ops.subtract(ops.logsumexp(logits, { axes: [-1] }), ops.reshape(picked, [rows.length]))
        },
        [random([tokens, h], 12)],
      )
    },
  )

  test('derivative in f64', () => {
    const [tokens, h, vocabulary] = [3, 4, 7]
    const weight = random([vocabulary, h], 11)
    const w = Float64Array.from(weight.toFloat32Array())
    const [rows, targets] = [
      [2, 0],
      [6, 1],
    ]
    expectDerivative(
      ([hidden]) => {
        if (hidden === undefined) throw new Error('one input')
        return fused.linearCrossEntropy(
          hidden,
          weight,
          runtime.fromInt32(rows),
          runtime.fromInt32(targets),
          true,
        )
      },
      ([hidden = new Float64Array()]) =>
        Float64Array.from(rows, (row, i) => {
          const logits = Array.from({ length: vocabulary }, (_, v) => {
            let dot = 0
            for (let j = 0; j < h; j++) dot += (hidden[row * h + j] ?? 0) * (w[v * h + j] ?? 0)
            return dot
          })
          return Math.log(logits.reduce((sum, x) => sum + Math.exp(x), 0)) - (logits[targets[i] ?? 0] ?? 0)
        }),
      [random([tokens, h], 12)],
    )
  })

  test('logits of ±1e4 give a finite loss', () => {
    const hidden = runtime.fromFloat32(Float32Array.of(100, -100), [1, 2])
    const weight = runtime.fromFloat32(Float32Array.of(100, 0, 0, 100, -100, 0), [3, 2])
    const nll = fused.linearCrossEntropy(hidden, weight, runtime.fromInt32([0]), runtime.fromInt32([1]), true)
    expect(nll.item()).toBeCloseTo(20_000, 0)
  })
})

describe('optimizer', () => {
  test('AdamW follows PyTorch’s formula in f64 over 100 steps', () => {
    const size = 37
    const parameter = random([size], 21)
    const exact = Float64Array.from(parameter.toFloat32Array())
    const [m, v] = [new Float64Array(size), new Float64Array(size)]
    const optimizer = new AdamW(runtime, [parameter], { weightDecay: 0.1, betas: [0.9, 0.99], eps: 1e-6 })
    for (let step = 1; step <= 100; step++) {
      const gradient = random([size], 1000 + step)
      optimizer.update([gradient], 1e-2, 0.5)
      gradient.toFloat32Array().forEach((g, i) => {
        m[i] = 0.9 * (m[i] ?? 0) + 0.1 * g * 0.5
        v[i] = 0.99 * (v[i] ?? 0) + 0.01 * (g * 0.5) ** 2
        const mean = (m[i] ?? 0) / (1 - 0.9 ** step)
        const variance = (v[i] ?? 0) / (1 - 0.99 ** step)
        exact[i] = (exact[i] ?? 0) * (1 - 1e-2 * 0.1) - (1e-2 * mean) / (Math.sqrt(variance) + 1e-6)
      })
    }
    // A hundred roundings to f32.
    expect(relativeError(parameter.toFloat32Array(), Float32Array.from(exact))).toBeLessThan(3e-6)
  })

  test('exported state continues bit for bit', () => {
    const [a, b] = [random([5], 1), random([5], 1)]
    const first = new AdamW(runtime, [a])
    const gradients = [random([5], 2), random([5], 3)]
    for (const gradient of gradients) first.update([gradient], 1e-2)
    const half = new AdamW(runtime, [b])
    half.update(gradients.slice(0, 1), 1e-2)
    const resumed = new AdamW(runtime, [b])
    resumed.importState(half.exportState())
    resumed.update(gradients.slice(1), 1e-2)
    expect(b.toFloat32Array()).toEqual(a.toFloat32Array())
    expect(() => resumed.importState({ step: 1, first: [], second: [] })).toThrow('another adapter')
  })

  test('gradients add up and are clipped by their global norm', () => {
    const sums = new GradientAccumulator(runtime)
    const make = (values: number[]): Tensor => runtime.fromFloat32(Float32Array.from(values))
    sums.add({ lossSum: 2, weightSum: 1, tokens: 3, rowTokens: 3, gradients: [make([1, 2]), make([3])] })
    sums.add({ lossSum: 4, weightSum: 2, tokens: 4, rowTokens: 4, gradients: [make([2, 4]), make([-3])] })
    expect(sums.gradients.map((gradient) => [...gradient.toFloat32Array()])).toEqual([[3, 6], [0]])
    expect(sums.meanLoss).toBe(2)
    expect(sums.meanGradientNorm).toBeCloseTo(Math.sqrt(45) / 3, 6)
    expect(globalNorm(runtime, sums.gradients)).toBeCloseTo(Math.sqrt(45), 6)
    expect(clipScale(4, 1)).toBeCloseTo(0.25, 6)
    expect(clipScale(0.5, 1)).toBe(1)
    expect(clipScale(4, null)).toBe(1)
  })
})
