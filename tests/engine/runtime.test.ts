import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  LlamaForCausalLM,
  LoraAdapter,
  lossAndGradients,
  modelTypes,
  Runtime,
  type Tensor,
} from '../../src/engine/index.ts'
import { add, matmul, multiply, square, sum } from '../../src/engine/tensor/ops.ts'
import { maxDifference, readTinyLlama } from './tiny-llama.ts'

const runtime = new Runtime()

describe('runtime', () => {
  test('tidy frees what is not returned, and lists and objects are returned whole', () => {
    const before = runtime.memory().activeBytes
    const kept = runtime.tidy(() => {
      const big = runtime.full([1000, 1000], 1)
      runtime.evaluate([big])
      return { value: sum(big), list: [add(big, 1)] }
    })
    runtime.evaluate([kept.value, ...kept.list])
    expect(kept.value.item()).toBe(1e6)
    for (const tensor of [kept.value, ...kept.list]) tensor.dispose()
    expect(runtime.memory().activeBytes).toBeLessThan(before + 4096)
  })

  test('a thrown error frees the scope', () => {
    let inside: Tensor | undefined
    expect(() =>
      runtime.tidy(() => {
        inside = runtime.full([2], 1)
        throw new Error('out')
      }),
    ).toThrow('out')
    expect(() => inside?.toFloat32Array()).toThrow('disposed')
  })

  test('a native failure names the operation and is a ShadowError', () => {
    expect(() => matmul(runtime.full([2, 3], 1), runtime.full([2, 3], 1))).toThrow(
      expect.objectContaining({ code: 'engine_failed', message: expect.stringContaining('matmul') }),
    )
  })

  test('an error thrown inside a loss reaches the caller', () => {
    expect(() =>
      runtime.valueAndGrad(() => {
        throw new Error('my own')
      }, [runtime.full([1], 1)]),
    ).toThrow('my own')
  })

  test('gradients and auxiliaries of a plain loss', () => {
    const x = runtime.fromFloat32(Float32Array.of(1, 2, 3))
    const result = runtime.valueAndGrad(
      ([p]) => {
        if (p === undefined) throw new Error('one parameter')
        return { loss: sum(square(p)), auxiliary: [multiply(p, 10)] }
      },
      [x],
    )
    expect(result.loss.item()).toBe(14)
    expect([...(result.gradients[0]?.toFloat32Array() ?? [])]).toEqual([2, 4, 6])
    expect([...(result.auxiliary[0]?.toFloat32Array() ?? [])]).toEqual([10, 20, 30])
  })

  test('importing the engine and listing its families loads no native code', () => {
    const program = `
      const engine = await import(${JSON.stringify(new URL('../../src/engine/index.ts', import.meta.url).href)})
      const maps = (await import('node:fs')).readFileSync('/proc/self/maps', 'utf8')
      console.log(engine.modelTypes().join(), maps.includes('libmlx'))`
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
    })
    expect(output.trim()).toBe(`${modelTypes().join()} false`)
    expect(readFileSync('/proc/self/maps', 'utf8')).toContain('libmlx')
  })
})

describe('adapters', () => {
  const tiny = readTinyLlama()
  const model = new LlamaForCausalLM(runtime, tiny.config, new Map(Object.entries(tiny.weights)))
  const config = { r: 4, lora_alpha: 8, lora_dropout: 0, target_modules: 'all' } as const
  const batch = [{ ids: Int32Array.of(5, 17, 80, 3), targetWeights: Float32Array.of(0, 1, 1, 1) }]

  test('a fresh adapter repeats for its seed, is bounded as PEFT draws it, and changes nothing yet', () => {
    const [first, again, other] = [1, 1, 2].map((seed) => LoraAdapter.create(model, config, seed).tensors())
    expect(first).toEqual(again)
    expect(first).not.toEqual(other)
    for (const [name, { shape, data }] of first ?? []) {
      if (name.includes('lora_B')) expect(data.every((value) => value === 0)).toBe(true)
      else expect(Math.max(...data.map(Math.abs))).toBeLessThanOrEqual(1 / Math.sqrt(shape[1] ?? 0))
    }
  })

  test('presets and lists choose layers; an unknown one is named', () => {
    const count = (target: LoraAdapter['config']['target_modules']): number =>
      LoraAdapter.create(model, { ...config, target_modules: target }, 1).linears.length
    expect([count('all'), count('attention'), count('mlp'), count(['q_proj', 'v_proj'])]).toEqual([
      14, 8, 6, 4,
    ])
    expect(() => count(['c_attn'])).toThrow('c_attn')
  })

  test('a subset of layers gets the same gradients as in the full set', () => {
    const full = LoraAdapter.create(model, config, 3)
    const some = LoraAdapter.fromTensors(
      model,
      { ...config, target_modules: ['v_proj', 'up_proj'] },
      full.tensors(),
    )
    const all = lossAndGradients(model, full, batch)
    const subset = lossAndGradients(model, some, batch)
    expect(subset.lossSum).toBeCloseTo(all.lossSum, 5)
    some.parameterNames.forEach((name, index) => {
      const expected =
        all.gradients[full.parameterNames.indexOf(name)]?.toFloat32Array() ?? new Float32Array()
      expect(
        maxDifference(subset.gradients[index]?.toFloat32Array() ?? new Float32Array(), expected),
      ).toBeLessThan(1e-4)
    })
  })

  test('dropout repeats for its seed, differs between seeds, and needs one', () => {
    const dropping = LoraAdapter.fromTensors(
      model,
      { ...config, lora_dropout: 0.3 },
      new Map(Object.entries(tiny.adapter)),
    )
    const loss = (dropoutSeed: number): number =>
      lossAndGradients(model, dropping, batch, { dropoutSeed }).lossSum
    expect(loss(1)).toBe(loss(1))
    expect(loss(1)).not.toBe(loss(2))
    expect(() => lossAndGradients(model, dropping, batch)).toThrow('dropoutSeed')
  })

  test('memory does not grow from step to step', () => {
    const adapter = LoraAdapter.create(model, config, 1)
    const step = (): void => {
      for (const gradient of lossAndGradients(model, adapter, batch).gradients) gradient.dispose()
    }
    for (let i = 0; i < 5; i++) step()
    const before = runtime.memory().activeBytes
    for (let i = 0; i < 50; i++) step()
    expect(runtime.memory().activeBytes).toBe(before)
  })

  test.each([
    [
      'no weighted token',
      [{ ids: Int32Array.of(1, 2), targetWeights: Float32Array.of(0, 0) }],
      'carries loss',
    ],
    [
      'a weight on the first token',
      [{ ids: Int32Array.of(1, 2), targetWeights: Float32Array.of(1, 0) }],
      'first token',
    ],
    [
      'lengths that differ',
      [{ ids: Int32Array.of(1, 2), targetWeights: Float32Array.of(0) }],
      '2 ids and 1 weights',
    ],
    [
      'an id outside the vocabulary',
      [{ ids: Int32Array.of(1, 999), targetWeights: Float32Array.of(0, 1) }],
      '999',
    ],
  ])('%s is refused', (_, rows, message) => {
    const adapter = LoraAdapter.create(model, config, 1)
    expect(() => lossAndGradients(model, adapter, rows)).toThrow(message)
  })
})
