import { copyFileSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { type LanguageModel, load, Reply, Runtime, type TrainStep } from '../../src/engine/index.ts'
import { exportModel } from '../../src/engine/io/export.ts'
import { runExample } from '../support/engine-example.ts'
import { writeTinyModel } from '../support/tiny-model.ts'

const folder = mkdtempSync(join(tmpdir(), 'shadow-library-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const tiny = writeTinyModel(folder)
const quiet = { verbose: false }
const greedy = { temperature: 0, maxNewTokens: 12 }
const ask = [{ role: 'user', content: 'ping' }]
const examples = [{ messages: [...ask, { role: 'assistant', content: 'pong' }] }, 'a text of its own']

function train(model: LanguageModel, onStep?: (step: TrainStep) => void): Promise<TrainStep[]> {
  const options = { max_steps: 12, learning_rate: 2e-2, adapter: { r: 4 } }
  return model.train(examples, onStep === undefined ? options : { ...options, onStep })
}

describe('a loaded model', () => {
  test('generates, trains, answers, saves and answers the same when loaded again', async () => {
    const [saved, merged] = [join(folder, 'adapter'), join(folder, 'merged')]
    using model = await load(tiny, quiet)
    const before = await model.chat(ask, greedy)
    const seen: number[] = []
    const steps = await train(model, ({ step }) => seen.push(step))
    expect(seen).toEqual(Array.from({ length: 12 }, (_, i) => i + 1))
    expect(steps.at(-1)?.loss).toBeLessThan((steps[0]?.loss ?? 0) / 2)
    const after = await model.chat(ask, greedy)
    expect(after.raw).not.toBe(before.raw)
    await model.save(saved)
    await model.save(merged, 'hf')

    using again = await load(tiny, { ...quiet, adapter: saved })
    expect((await again.chat(ask, greedy)).raw).toBe(after.raw)
    using whole = await load(merged, quiet)
    expect((await whole.chat(ask, greedy)).raw).toBe(after.raw)
  })

  test('a Hugging Face folder answers as the GGUF file that it was made from', async () => {
    const hf = join(folder, 'hf')
    await exportModel({ basePath: tiny, adapterFolder: null, format: 'hf', outFolder: hf })
    using file = await load(tiny, quiet)
    using made = await load(hf, quiet)
    expect(await made.generate('one two', greedy)).toBe(await file.generate('one two', greedy))
    expect(made.text.tokenizer.endTokenIds).toEqual(file.text.tokenizer.endTokenIds)
  })

  test('the same seed draws the same text, piece by piece', async () => {
    using model = await load(tiny, quiet)
    const pieces: string[] = []
    const text = await model.generate('x', {
      seed: 5,
      maxNewTokens: 20,
      onText: (piece) => pieces.push(piece),
    })
    expect(pieces.join('')).toBe(text)
    expect(await model.generate('x', { seed: 5, maxNewTokens: 20 })).toBe(text)
    expect(await model.generate('x', { seed: 6, maxNewTokens: 20 })).not.toBe(text)
  })

  test('a GGUF LoRA answers as the adapter that it was written from, and is refused on another base', async () => {
    const [own, gguf, wide] = [
      join(folder, 'peft'),
      join(folder, 'gguf-lora'),
      writeTinyModel(join(folder, 'wide'), 7, 64),
    ]
    using model = await load(tiny, quiet)
    await train(model)
    await model.save(own)
    await model.save(gguf, 'gguf-lora')
    const answers = await Promise.all(
      [own, gguf, join(gguf, 'adapter.gguf')].map(async (adapter) => {
        using again = await load(tiny, { ...quiet, adapter })
        return (await again.chat(ask, greedy)).raw
      }),
    )
    expect(new Set(answers)).toEqual(new Set([(await model.chat(ask, greedy)).raw]))
    await expect(load(wide, { ...quiet, adapter: gguf })).rejects.toMatchObject({
      code: 'invalid_file',
      message: expect.stringMatching(
        /attn_q\.weight\.lora_a: is 4×48 for a matrix of 64×64 in this base model\.$/,
      ),
    })
  })

  test('an adapter of another base is refused by the layer that does not fit', async () => {
    const [own, wide] = [join(folder, 'narrow'), writeTinyModel(join(folder, 'wide'), 7, 64)]
    using model = await load(tiny, quiet)
    await train(model)
    await model.save(own)
    await expect(load(wide, { ...quiet, adapter: own })).rejects.toMatchObject({
      code: 'invalid_file',
      message: expect.stringMatching(/q_proj\.lora_A\.weight has shape \[4, 48\], this base needs \[4, 64\]/),
      hint: 'Use the base model that the adapter was trained on.',
    })
    expect((await load(tiny, { ...quiet, adapter: own })).adapter?.config.r).toBe(4)
  })

  test('rows that share tokens share a pass; under dropout they do not, which is said, and passes keep their size', async () => {
    const shared = 'what all of these rows begin with, '.repeat(12)
    const rows = Array.from({ length: 8 }, (_, row) => `${shared}${row}`)
    const outcome = async (lora_dropout: number, max_tokens_per_pass: number) => {
      using model = await load(tiny, quiet)
      const notes: string[] = []
      const { native } = model.model.runtime
      const before = native.memory().activeBytes
      native.resetPeakMemory()
      await model.train(rows, {
        max_steps: 1,
        max_tokens_per_pass,
        adapter: { lora_dropout },
        onNote: (text) => notes.push(text),
      })
      return { notes, bytes: native.memory().peakBytes - before }
    }
    const [tree, dropping, atOnce] = [
      await outcome(0, 512),
      await outcome(0.1, 512),
      await outcome(0.1, 8192),
    ]
    expect(tree.notes).toEqual([])
    expect(dropping.notes).toEqual([expect.stringMatching(/^lora_dropout is 0\.1, which draws for each row/)])
    expect(dropping.bytes).toBeLessThan(atOnce.bytes / 3)
  })

  test('an adapter goes on being trained', async () => {
    using model = await load(tiny, quiet)
    const first = await train(model)
    const second = await model.train(examples, { max_steps: 2 })
    expect(second[0]?.loss).toBeLessThan(first[0]?.loss ?? 0)
    await expect(train(model)).rejects.toThrow(/has an adapter already/)
  })

  test('all native memory is free after its block', { timeout: 30_000 }, async () => {
    const runtime = new Runtime()
    const rounds: number[] = []
    for (let round = 0; round < 3; round++) {
      {
        using model = await load(tiny, quiet)
        await train(model)
        await model.chat(ask, greedy)
      }
      rounds.push(runtime.memory().activeBytes)
    }
    expect(rounds[2]).toBe(rounds[0])
  })

  test('what is wrong is said', async () => {
    await expect(load('no/such-model', quiet)).rejects.toMatchObject({ code: 'not_found' })
    using model = await load(tiny, quiet)
    await expect(model.save(join(folder, 'nothing'))).rejects.toThrow(/no adapter to save/)
    await expect(model.train([])).rejects.toThrow(/no examples/)
    await expect(model.train([{ messages: ask }])).rejects.toThrow(/Example 1 has no assistant turn/)
    await expect(model.generate('x', { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow(
      'enough',
    )
    expect(readdirSync(folder)).not.toContain('nothing')
  })

  test('the backend is named unless told not to', async () => {
    const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    try {
      using model = await load(tiny)
      expect(model.path).toBe(tiny)
      const said = write.mock.calls.map(([text]) => String(text)).join('')
      expect(said).toMatch(
        /^preparing .*tiny-llama.gguf …\nready · backend=mlx-cpu \(\d+ threads?\) · \d+\.\d s\n$/,
      )
      const [own, alike] = [join(folder, 'of-tiny'), join(folder, 'alike.gguf')]
      await model.train(examples, { max_steps: 1 })
      await model.save(own)
      copyFileSync(tiny, alike)
      write.mockClear()
      for (const base of [tiny, alike]) (await load(base, { adapter: own })).dispose()
      const again = write.mock.calls.map(([text]) => String(text)).join('')
      expect(again.match(/.* was made for .*/g)).toEqual([
        `${own} was made for ${tiny} and is used on ${alike}`,
      ])
    } finally {
      write.mockRestore()
    }
  })
})

describe('a reply', () => {
  test('with calls', () => {
    const reply = new Reply('Wait. <tool_call>{"name":"f","arguments":{"a":1}}</tool_call>', 'stop')
    expect(reply.toString()).toBe('Wait.')
    expect(reply.toMessage()).toEqual({
      role: 'assistant',
      content: 'Wait.',
      tool_calls: [{ type: 'function', function: { name: 'f', arguments: '{"a":1}' } }],
    })
  })

  test('without', () => {
    expect(new Reply('Hi', 'length').toMessage()).toEqual({ role: 'assistant', content: 'Hi' })
  })
})

test('the example runs', { timeout: 60_000 }, () => {
  const out = join(folder, 'example')
  const text = runExample(tiny, out)
  expect(text).toMatch(/^before: [^]*\nloss: \d+\.\d+ → \d+\.\d+\nafter: /)
  expect(readdirSync(out).toSorted()).toEqual(['adapter_config.json', 'adapter_model.safetensors'])
})
