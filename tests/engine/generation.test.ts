import { describe, expect, test } from 'vitest'
import {
  GenerationScheduler,
  type GenerateRequest,
  LlamaForCausalLM,
  LoraAdapter,
  Runtime,
} from '../../src/engine/index.ts'
import { readTinyLlama } from './tiny-llama.ts'

const tiny = readTinyLlama()
const runtime = new Runtime()
const model = new LlamaForCausalLM(runtime, tiny.config, new Map(Object.entries(tiny.weights)))
const lora = { ...tiny.lora, lora_dropout: 0, target_modules: 'all' } as const

function scheduler(maxBatch = 16, prefillRows = 256): GenerationScheduler {
  const made = new GenerationScheduler(model, { maxBatch, maxContext: 64, prefillRows })
  made.addAdapter('tuned', LoraAdapter.fromTensors(model, lora, new Map(Object.entries(tiny.adapter))))
  return made
}

function request(promptIds: number[], more: Partial<GenerateRequest> = {}): GenerateRequest {
  return { promptIds, maxTokens: 12, temperature: 0, topP: 1, stopIds: [], ...more }
}

/** Prompts of 3 to 18 tokens, all different. */
const prompts = Array.from({ length: 20 }, (_, index) =>
  Array.from({ length: 3 + (index % 16) }, (_, t) => (index * 31 + t * 17 + 5) % 97),
)

describe('generation', () => {
  test('greedy ids are those of transformers', async () => {
    using generator = scheduler()
    const result = await generator.submit(request(tiny.rows[0] ?? []))
    expect(result.ids).toEqual(tiny.greedy)
    expect(result.finishReason).toBe('length')
    expect(result.logprobs.every((value) => value <= 0)).toBe(true)
  })

  test('a sequence does not depend on its batch mates, on prefill steps, or on a reused prefix', async () => {
    const alone = []
    for (const prompt of prompts) {
      using generator = scheduler(1)
      alone.push(
        await generator.submit(request(prompt, { adapter: 'tuned', temperature: 0.7, topP: 0.9, seed: 11 })),
      )
    }
    using together = scheduler(16, 7)
    const settings = { adapter: 'tuned', temperature: 0.7, topP: 0.9, seed: 11 }
    const first = await Promise.all(prompts.map((prompt) => together.submit(request(prompt, settings))))
    // Sixteen slots: the last sixteen prompts are still there.
    const second = await Promise.all(
      prompts.slice(4).map((prompt) => together.submit(request(prompt, settings))),
    )
    expect(first.map(({ ids, logprobs }) => ({ ids, logprobs }))).toEqual(
      alone.map(({ ids, logprobs }) => ({ ids, logprobs })),
    )
    expect(second.map(({ ids, logprobs }) => ({ ids, logprobs }))).toEqual(
      alone.slice(4).map(({ ids, logprobs }) => ({ ids, logprobs })),
    )
    expect(second.some(({ cachedTokens }) => cachedTokens > 0)).toBe(true)
  })

  test('a shared prefix is taken from a sequence that still runs', async () => {
    using generator = scheduler()
    const shared = prompts[15] ?? []
    const [, continued] = await Promise.all([
      generator.submit(request(shared, { maxTokens: 30 })),
      new Promise<void>((done) => setTimeout(done, 5)).then(() =>
        generator.submit(request([...shared, 4, 9])),
      ),
    ])
    using fresh = scheduler()
    const expected = await fresh.submit(request([...shared, 4, 9]))
    expect(continued?.cachedTokens).toBe(shared.length)
    expect(continued?.ids).toEqual(expected.ids)
    expect(continued?.logprobs).toEqual(expected.logprobs)
  })

  test('adapters do not mix', async () => {
    using generator = scheduler()
    const prompt = tiny.rows[0] ?? []
    const [base, tuned, baseAgain] = await Promise.all([
      generator.submit(request(prompt)),
      generator.submit(request(prompt, { adapter: 'tuned' })),
      generator.submit(request(prompt)),
    ])
    expect(base?.ids).toEqual(tiny.greedy)
    expect(baseAgain?.ids).toEqual(tiny.greedy)
    expect(tuned?.logprobs).not.toEqual(base?.logprobs)
  })

  test('a stop id ends a sequence and is not part of it', async () => {
    using generator = scheduler()
    const third = tiny.greedy[2] ?? 0
    const result = await generator.submit(request(tiny.rows[0] ?? [], { stopIds: [third] }))
    expect(result.finishReason).toBe('stop')
    expect(result.ids).toEqual(tiny.greedy.slice(0, tiny.greedy.indexOf(third)))
  })

  test('the context bounds a sequence', async () => {
    using generator = scheduler()
    const result = await generator.submit(request(prompts[0] ?? [], { maxTokens: 500 }))
    expect(result.ids.length).toBe(64 - 3)
    expect(result.finishReason).toBe('length')
  })

  test('sampling follows the distribution', async () => {
    using generator = scheduler()
    const settings = { maxTokens: 1, temperature: 1, topP: 1 }
    const draws = await Promise.all(
      Array.from({ length: 2000 }, (_, seed) => generator.submit(request([5, 17], { ...settings, seed }))),
    )
    const first = draws[0]
    if (first === undefined) throw new Error('no draws')
    const counted = new Map<number, { count: number; probability: number }>()
    for (const { ids, logprobs } of draws) {
      const entry = counted.get(ids[0] ?? -1) ?? { count: 0, probability: Math.exp(logprobs[0] ?? 0) }
      entry.count++
      counted.set(ids[0] ?? -1, entry)
    }
    const likely = [...counted.values()].filter(({ probability }) => probability > 0.02)
    expect(likely.length).toBeGreaterThan(2)
    for (const { count, probability } of likely) {
      const sigma = Math.sqrt(2000 * probability * (1 - probability))
      expect(Math.abs(count - 2000 * probability)).toBeLessThan(4.5 * sigma)
    }
  })

  test('top-p keeps the smallest set of likely tokens', async () => {
    using generator = scheduler()
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, seed) =>
        generator.submit(request([5, 17], { maxTokens: 1, temperature: 1, topP: 1e-6, seed })),
      ),
    )
    const greedy = await generator.submit(request([5, 17], { maxTokens: 1 }))
    for (const { ids } of results) expect(ids).toEqual(greedy.ids)
  })

  test('aborting frees the slot for the next request', async () => {
    using generator = scheduler(1)
    const controller = new AbortController()
    const aborted = generator.submit(
      request(prompts[3] ?? [], {
        maxTokens: 50,
        signal: controller.signal,
        onToken: () => controller.abort(new Error('gone')),
      }),
    )
    const next = generator.submit(request(tiny.rows[0] ?? []))
    await expect(aborted).rejects.toThrow('gone')
    expect((await next).ids).toEqual(tiny.greedy)
    expect(generator.load).toEqual({ waiting: 0, running: 0 })
  })

  test.each([
    ['an empty prompt', { promptIds: [] }, 'invalid_request'],
    ['a prompt beyond the context', { promptIds: Array.from({ length: 64 }, () => 1) }, 'invalid_request'],
    ['an id outside the vocabulary', { promptIds: [97] }, 'invalid_request'],
    ['a negative temperature', { temperature: -1 }, 'invalid_request'],
    ['an unknown adapter', { adapter: 'nobody' }, 'not_found'],
  ])('%s is refused', async (_, wrong, code) => {
    using generator = scheduler()
    await expect(generator.submit(request([1, 2], wrong))).rejects.toMatchObject({ code })
    expect((await generator.submit(request(tiny.rows[0] ?? []))).ids).toEqual(tiny.greedy)
  })
})
