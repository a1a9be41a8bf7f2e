import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { type LanguageModel, load } from '../../src/engine/index.ts'
import { exportModel } from '../../src/engine/io/export.ts'
import { intoNewFolder } from '../../src/engine/io/new-folder.ts'
import { ShadowError } from '../../src/lib/error.ts'
import { writeTinyModel } from '../support/tiny-model.ts'

const root = mkdtempSync(join(tmpdir(), 'shadow-input-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))
const tiny = writeTinyModel(root)
const row = {
  messages: [
    { role: 'user', content: 'ping' },
    { role: 'assistant', content: 'pong' },
  ],
}

/** Options as plain JavaScript hands them over. */
const untyped = (options: object): object => JSON.parse(JSON.stringify(options), revive)
const revive = (_key: string, value: unknown): unknown => (value === 'NaN' ? Number.NaN : value)

/** The error's code and message. */
async function problemOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => 'none',
    (thrown: unknown) =>
      thrown instanceof ShadowError ? `${thrown.code}: ${thrown.message}` : `untyped: ${String(thrown)}`,
  )
}

describe('what the library is told', () => {
  test.each([
    [{ learning_rate: 'NaN' }, /invalid_config: train: learning_rate: /],
    [{ learning_rate: '2e-4' }, /learning_rate/],
    [{ learning_rate: -1 }, /learning_rate/],
    [{ learningRate: 1e-3 }, /train: Unrecognized key: "learningRate"/],
    [{ max_steps: 1.5 }, /max_steps/],
    [{ num_train_epochs: 'NaN' }, /num_train_epochs/],
    [{ per_device_train_batch_size: 0 }, /per_device_train_batch_size/],
    [{ max_grad_norm: 0 }, /max_grad_norm/],
    [{ optim: 'adamw_8bit' }, /"optim"/],
    [{ adapter: { r: 0 } }, /adapter: r: /],
    [{ adapter: { r: 1.5 } }, /adapter: r: /],
    [{ adapter: { rank: 4 } }, /"rank"/],
    [{ adapter: { lora_dropout: 1 } }, /lora_dropout/],
    [{ adapter: { lora_alpha: 'NaN' } }, /lora_alpha/],
    [{ adapter: { target_modules: 'al' } }, /target_modules/],
    [{ adapter: { target_modules: [] } }, /target_modules/],
    [{ adapter: { rank_pattern: { nope: 4 } } }, /rank_pattern names "nope", which no adapted layer matches/],
    [
      { adapter: { target_modules: ['q_proj'], alpha_pattern: { v_proj: 4 } } },
      /alpha_pattern names "v_proj"/,
    ],
  ])('train with %j is refused, and leaves no adapter', async (options, says) => {
    using model = await load(tiny, { verbose: false })
    expect(await problemOf(model.train([row], untyped(options)))).toMatch(says)
    expect(model.adapter).toBeNull()
  })

  test('examples that cannot be learned are named', async () => {
    using model = await load(tiny, { verbose: false })
    const train = (examples: readonly unknown[]): Promise<string> =>
      problemOf(Reflect.apply(model.train, model, [examples, { max_steps: 1 }]))
    expect(await train([])).toMatch(/There are no examples/)
    expect(await train([row, ''])).toBe('invalid_request: Example 2 is too short to learn from.')
    expect(await train([row, { prompt: 'a' }])).toMatch(/^invalid_request: Example 2 is neither text nor/)
    expect(await train([null])).toMatch(/^invalid_request: Example 1 is neither/)
    expect(await train(['x'.repeat(600)])).toBe(
      "invalid_request: Example 1 has 601 tokens, the model's context is 512.",
    )
    expect(model.adapter).toBeNull()
  })

  test.each([
    [{ seed: 'NaN' }, /seed/],
    [{ max_tokens: 4 }, /"max_tokens"/],
    [{ maxNewTokens: 0 }, /maxNewTokens/],
  ])('generate with %j is refused', async (options, says) => {
    using model = await load(tiny, { verbose: false })
    expect(await problemOf(model.generate('x', untyped(options)))).toMatch(says)
  })

  test('a conversation that is none', async () => {
    using model = await load(tiny, { verbose: false })
    const chat = (messages: unknown): Promise<string> =>
      problemOf(Reflect.apply(model.chat, model, [messages]))
    for (const wrong of ['hello', [], [{ content: 'x' }], [{ role: 'user', content: 5 }]])
      expect(await chat(wrong)).toMatch(/^invalid_request: A conversation is a list of messages/)
    expect(await chat([{ role: 'assistant', tool_calls: [{ function: { name: 'f' } }] }])).toMatch(
      /A conversation/,
    )
    const withTools = (tools: unknown): Promise<string> =>
      problemOf(Reflect.apply(model.chat, model, [row.messages, { tools }]))
    expect(await withTools(5)).toMatch(/^invalid_config: chat: tools: /)
    expect(await withTools([{ type: 'function', function: { parameters: {} } }])).toMatch(
      /^invalid_config: chat: tools: 0\.function\.name: /,
    )
  })

  test('a model does one thing at a time: while it is trained it answers nothing, and no second training begins', async () => {
    using model = await load(tiny, { verbose: false })
    const training = model.train([row], { max_steps: 3 })
    const asked = [{ role: 'user', content: 'x' }]
    const others = [model.generate('x'), model.chat(asked), model.train([row], { max_steps: 1 })]
    for (const other of others) expect(await problemOf(other)).toBe('busy: The model is being trained.')
    expect(await training).toHaveLength(3)
    expect(await model.train([row], { max_steps: 1 })).toHaveLength(1)
    expect(await model.generate('x', { maxNewTokens: 3, temperature: 0 })).toEqual(expect.any(String))
  })

  test('a model that was disposed of says so, and ends what is under way', async () => {
    const model = await load(tiny, { verbose: false })
    const training = problemOf(model.train([row], { max_steps: 1000 }))
    setTimeout(() => model.dispose(), 50)
    const gone = 'invalid_request: The model was disposed of.'
    expect(await training).toBe(gone)
    const uses = [model.generate('x'), model.train([row]), model.save(join(root, 'gone'))]
    for (const use of uses) expect(await problemOf(use)).toBe(gone)
    model.dispose()
  })

  test.each([
    [{ maxContext: 0 }, /maxContext/],
    [{ threads: 0 }, /threads/],
    [{ quantization: { bits: 3 } }, /quantization/],
    [{ quantization: 'int4' }, /quantization/],
    [{ loadIn4bit: true }, /"loadIn4bit"/],
    [{ quantization: { bits: 4 } }, /cannot be quantised: no matrix has rows that divide into groups of 64/],
  ])('load with %j is refused', async (options, says) => {
    expect(await problemOf(load(tiny, { verbose: false, ...untyped(options) }))).toMatch(says)
  })
})

describe('a path that holds no model', () => {
  test.each<[string, (folder: string) => void, RegExp]>([
    ['nothing', () => {}, /^invalid_file: .* holds no model: neither a config\.json nor a GGUF file\.$/],
    [
      'an adapter',
      (folder) => writeFileSync(join(folder, 'adapter_config.json'), '{}'),
      /nor a GGUF file, but an adapter\.$/,
    ],
    [
      'two models',
      (folder) => ['a.gguf', 'b.gguf'].forEach((name) => writeFileSync(join(folder, name), 'x')),
      /^invalid_request: .* has several model files\.$/,
    ],
  ])('a folder with %s', async (_name, fill, says) => {
    const folder = mkdtempSync(join(root, 'folder-'))
    fill(folder)
    expect(await problemOf(load(folder, { verbose: false }))).toMatch(says)
    rmSync(folder, { recursive: true })
  })

  test('a folder with one GGUF file is that file; a LoRA adapter for llama.cpp is none', async () => {
    const folder = mkdtempSync(join(root, 'one-'))
    copyFileSync(tiny, join(folder, 'x.gguf'))
    using model = await load(folder, { verbose: false })
    expect(model.path).toBe(join(folder, 'x.gguf'))
    await model.train([row], { max_steps: 1 })
    await model.save(join(folder, 'lora'), 'gguf-lora')
    expect(await problemOf(load(join(folder, 'lora'), { verbose: false }))).toMatch(
      /^invalid_file: .*general\.type: this is a LoRA adapter for llama\.cpp, not a model\.$/,
    )
    rmSync(folder, { recursive: true })
  })
})

describe('where a result is written', () => {
  async function trained(): Promise<LanguageModel> {
    const model = await load(tiny, { verbose: false })
    await model.train([row], { max_steps: 1, adapter: { r: 2 } })
    return model
  }

  test('no folder, a file and an unknown format are refused, and nothing is written', async () => {
    using model = await trained()
    const before = readdirSync('.')
    expect(await problemOf(model.save(''))).toMatch(/^invalid_request: There is no folder/)
    expect(await problemOf(model.save(tiny))).toMatch(/^conflict: .* is a file/)
    const onnx: Promise<void> = Reflect.apply(model.save, model, [join(root, 'onnx'), 'onnx'])
    expect(await problemOf(onnx)).toBe('invalid_request: There is no format "onnx".')
    expect(readdirSync('.')).toEqual(before)
    expect(readdirSync(root)).toEqual(['tiny-llama.gguf'])
  })

  test('a type that the format does not have is refused', async () => {
    const outFolder = join(root, 'typed')
    const request = { basePath: tiny, adapterFolder: null, format: 'peft', type: 'q8_0', outFolder } as const
    expect(await problemOf(exportModel(request))).toMatch(/^invalid_request: The format peft has no choice/)
  })

  test('what fails on the way leaves nothing behind', async () => {
    const own = mkdtempSync(join(root, 'fails-'))
    const full = async (folder: string): Promise<void> => {
      writeFileSync(join(folder, 'half'), 'x')
      throw Object.assign(new Error('ENOSPC: no space left on device, write'), {
        code: 'ENOSPC',
        syscall: 'write',
      })
    }
    expect(await problemOf(intoNewFolder(join(own, 'new'), full))).toMatch(/^store_failed: .*no space left/)
    expect(readdirSync(own)).toEqual([])
    const there = join(own, 'there')
    mkdirSync(there)
    expect(await problemOf(intoNewFolder(there, full))).toMatch(/^store_failed/)
    expect(readdirSync(there)).toEqual([])
  })

  test('of two exports into one new folder one is whole and the other is told', async () => {
    const own = mkdtempSync(join(root, 'two-'))
    const outFolder = join(own, 'out')
    const request = { basePath: tiny, adapterFolder: null, format: 'hf', outFolder } as const
    const told = await Promise.all([problemOf(exportModel(request)), problemOf(exportModel(request))])
    expect(told.toSorted()).toEqual([expect.stringMatching(/^conflict: /), 'none'])
    expect(readdirSync(own)).toEqual(['out'])
    expect(readdirSync(outFolder)).toContain('config.json')
  })
})
