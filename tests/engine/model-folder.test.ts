/** Hugging Face folders: what is in them is what is computed, and what cannot be right is refused by name. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import {
  chatTemplateOf,
  createModel,
  encodeSafetensors,
  load,
  loadModel,
  loadText,
  pack,
  Runtime,
  type Weight,
} from '../../src/engine/index.ts'
import { exportModel } from '../../src/engine/io/export.ts'
import { encodeBF16, encodeF16 } from '../../src/engine/io/ggml-encode.ts'
import { decodeBF16, decodeF16 } from '../../src/engine/io/ggml-types.ts'
import { openModelFolder } from '../../src/engine/io/model-folder.ts'
import { writeSafetensors } from '../../src/engine/io/safetensors-write.ts'
import { storedWeights } from '../../src/engine/io/stored-tensor.ts'
import { ShadowError } from '../../src/lib/error.ts'
import { type FamilyCase, familyWeights, readFamilies } from './families-fixture.ts'
import { writeTinyModel } from '../support/tiny-model.ts'
import { maxDifference } from './tiny-llama.ts'

const root = mkdtempSync(join(tmpdir(), 'model-folder-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))
const runtime = new Runtime()
const families = new Map(readFamilies())

function family(name: string): FamilyCase {
  const found = families.get(name)
  if (found === undefined) throw new Error(name)
  return found
}

let folders = 0
function newFolder(config: unknown): string {
  const folder = join(root, String(folders++))
  mkdirSync(folder)
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  return folder
}

type Tensors = ReadonlyMap<string, Weight>

function writeShard(folder: string, name: string, tensors: Tensors): void {
  writeFileSync(join(folder, name), encodeSafetensors(tensors, { format: 'pt' }))
}

function writeIndex(folder: string, weightMap: unknown): void {
  const content = { metadata: { total_size: 1 }, weight_map: weightMap }
  writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify(content))
}

/** The tensors of a model in two files, with the index that says so. */
function sharded(one: FamilyCase) {
  const weights = [...familyWeights(one)]
  const half = Math.ceil(weights.length / 2)
  const shards = new Map<string, Tensors>([
    ['model-00001-of-00002.safetensors', new Map(weights.slice(0, half))],
    ['model-00002-of-00002.safetensors', new Map(weights.slice(half))],
  ])
  const index: Record<string, string> = {}
  for (const [file, tensors] of shards) for (const name of tensors.keys()) index[name] = file
  return { shards, index }
}

function writeSharded(one: FamilyCase): string {
  const folder = newFolder(one.config)
  const { shards, index } = sharded(one)
  for (const [name, tensors] of shards) writeShard(folder, name, tensors)
  writeIndex(folder, index)
  return folder
}

/** Logits of the fixture's rows without an adapter. */
function logitsOf(folder: string, rows: FamilyCase['rows']): Float32Array {
  using opened = openModelFolder(folder)
  const model = createModel(runtime, opened.config, storedWeights(opened.tensors))
  const logits = runtime.tidy(() => model.logits(model.hidden(pack(rows), null)).toFloat32Array())
  model.dispose()
  return logits
}

function expectedLogits(one: FamilyCase, round: (data: Float32Array) => Float32Array = (d) => d) {
  const weights = new Map(
    [...familyWeights(one)].map(([name, { shape, data }]) => [name, { shape, data: round(data) }]),
  )
  const model = createModel(runtime, one.config, weights)
  return runtime.tidy(() => model.logits(model.hidden(pack(one.rows), null)).toFloat32Array())
}

describe('every family from a folder computes what it computes from memory', () => {
  test.each([...families.keys()])('%s', (name) => {
    const one = family(name)
    const single = newFolder(one.config)
    writeShard(single, 'model.safetensors', familyWeights(one))
    const expected = expectedLogits(one)
    expect(logitsOf(single, one.rows)).toEqual(expected)
    expect(logitsOf(writeSharded(one), one.rows)).toEqual(expected)
  })

  test.each([
    ['F16', (data: Float32Array) => decodeF16(encodeF16(Float32Array.from(data)))],
    ['BF16', (data: Float32Array) => decodeBF16(encodeBF16(Float32Array.from(data)))],
  ] as const)('stored as %s', async (type, round) => {
    const one = family('gemma3_text')
    const folder = newFolder(one.config)
    const tensors = [...familyWeights(one)].map(([name, { shape, data }]) => {
      const read = () => Float32Array.from(data)
      return [name, { shape, read }] as const
    })
    await writeSafetensors(join(folder, 'model.safetensors'), new Map(tensors), type)
    expect(maxDifference(logitsOf(folder, one.rows), expectedLogits(one, round))).toBe(0)
  })

  test('a head stored beside tied embeddings is not used', () => {
    const one = family('qwen2')
    const folder = newFolder(one.config)
    const [embedding] = [...familyWeights(one).values()]
    if (embedding === undefined) throw new Error('no weights')
    const wrong = { shape: embedding.shape, data: new Float32Array(embedding.data.length) }
    writeShard(folder, 'model.safetensors', new Map([...familyWeights(one), ['lm_head.weight', wrong]]))
    expect(logitsOf(folder, one.rows)).toEqual(expectedLogits(one))
  })
})

describe('a whole model as a folder', async () => {
  const gguf = writeTinyModel(join(root, 'gguf'))
  const folder = join(root, 'tiny')
  await exportModel({ basePath: gguf, adapterFolder: null, format: 'hf', outFolder: folder })
  const messages = [{ role: 'user', content: 'three  colours, 🙂' }] as const

  function answersOf(path: string) {
    const { model, ...text } = loadModel(runtime, path)
    const ids = [...chatTemplateOf(text).encodePrompt(messages)]
    const logits = runtime.tidy(() => model.logits(model.hidden(pack([ids]), null)).toFloat32Array())
    return { ids, logits, ends: text.tokenizer.endTokenIds }
  }

  test('has the text and the numbers of the GGUF file that it came from', () => {
    expect(answersOf(folder)).toEqual(answersOf(gguf))
  })

  test('ends where generation_config.json says, and prefers chat_template.jinja', () => {
    const copy = join(root, 'copy')
    cpSync(folder, copy, { recursive: true })
    writeFileSync(join(copy, 'generation_config.json'), JSON.stringify({ eos_token_id: [1, 5] }))
    writeFileSync(join(copy, 'chat_template.jinja'), 'say {{ messages[0].content }}')
    const text = loadText(copy)
    expect(text.tokenizer.endTokenIds).toEqual([1, 5])
    expect(chatTemplateOf(text).render(messages)).toBe('say three  colours, 🙂')
  })

  test('exported again it is the same, files about text included', async () => {
    const again = join(root, 'again')
    await exportModel({ basePath: folder, adapterFolder: null, format: 'hf', type: 'f32', outFolder: again })
    for (const name of ['model.safetensors', 'tokenizer.json', 'tokenizer_config.json'])
      expect(readFileSync(join(again, name)).equals(readFileSync(join(folder, name))), name).toBe(true)
    const configOf = (path: string): unknown => JSON.parse(readFileSync(join(path, 'config.json'), 'utf8'))
    expect(configOf(again)).toEqual(configOf(folder))
  })

  test('is not written as GGUF, which wants the tokenizer in another form', async () => {
    const request = {
      basePath: folder,
      adapterFolder: null,
      format: 'gguf',
      outFolder: join(root, 'no'),
    } as const
    await expect(exportModel(request)).rejects.toMatchObject({ code: 'invalid_request' })
  })

  function without(name: string): string {
    const copy = join(root, `without-${name}`)
    cpSync(folder, copy, { recursive: true })
    rmSync(join(copy, name))
    return copy
  }

  test('without tokenizer.json it has no text', () => {
    expect(() => loadText(without('tokenizer.json'))).toThrow(
      expect.objectContaining({
        code: 'not_found',
        message: expect.stringMatching(/tokenizer\.json cannot be read/),
      }),
    )
  })

  test('without a chat template it goes on from texts and learns from them, and has no conversations', async () => {
    using model = await load(without('tokenizer_config.json'))
    using whole = await load(folder)
    const greedy = { temperature: 0, maxNewTokens: 3 }
    expect(await model.generate('three colours', greedy)).toBe(await whole.generate('three colours', greedy))
    const steps = await model.train(['three colours'], { max_steps: 1 })
    expect(steps).toHaveLength(1)
    const refusal = { code: 'invalid_request', message: expect.stringMatching(/no chat template/) }
    await expect(model.chat(messages)).rejects.toMatchObject(refusal)
    await expect(model.train([{ messages: [...messages] }])).rejects.toMatchObject(refusal)
  })
})

describe('what a folder cannot mean is refused, naming file and field', () => {
  const one = family('mistral')
  const [first = '', second = ''] = sharded(one).shards.keys()
  const firstName = one.names[0] ?? ''
  const lastName = one.names.at(-1) ?? ''

  function problemOf(folder: string): ShadowError {
    try {
      openModelFolder(folder)[Symbol.dispose]()
    } catch (thrown) {
      if (thrown instanceof ShadowError) return thrown
      throw thrown
    }
    throw new Error('It was opened.')
  }

  test.each([
    '../outside.safetensors',
    '/etc/passwd.safetensors',
    'a/b.safetensors',
    String.raw`..\outside.safetensors`,
    '.hidden.safetensors',
    'model.bin',
    '',
    7,
  ])('an index that leads to %o', (target) => {
    const folder = writeSharded(one)
    writeShard(root, 'outside.safetensors', familyWeights(one))
    writeIndex(folder, { ...sharded(one).index, [firstName]: target })
    expect(problemOf(folder)).toMatchObject({
      code: 'invalid_file',
      message: expect.stringMatching(/index\.json: weight_map/),
    })
  })

  const cases: [string, (folder: string) => void, RegExp][] = [
    ['a missing shard', (folder) => rmSync(join(folder, second)), /00002-of-00002\.safetensors: is not in/],
    [
      'a shard that is a folder',
      (folder) => {
        rmSync(join(folder, second))
        mkdirSync(join(folder, second))
      },
      /is not a file/,
    ],
    [
      'a shard that leads to itself',
      (folder) => {
        rmSync(join(folder, second))
        symlinkSync(second, join(folder, second))
      },
      /is not in the folder/,
    ],
    [
      'a tensor in two shards',
      (folder) => writeShard(folder, second, familyWeights(one)),
      /00002-of-00002\.safetensors: tensor .*: is here, but .* has it in model-00001/,
    ],
    [
      'a tensor that no shard holds',
      (folder) => writeIndex(folder, { ...sharded(one).index, 'model.extra.weight': first }),
      /tensor model\.extra\.weight: is missing/,
    ],
    [
      'a tensor that is not listed',
      (folder) => {
        const { [lastName]: _, ...rest } = sharded(one).index
        writeIndex(folder, rest)
      },
      /is not listed/,
    ],
    ['an empty index', (folder) => writeIndex(folder, {}), /layers cannot come from 0 tensors/],
    ['an index without a map', (folder) => writeIndex(folder, null), /weight_map/],
    [
      'an index that is not JSON',
      (folder) => writeFileSync(join(folder, 'model.safetensors.index.json'), '{'),
      /index\.json: content: is not a JSON object/,
    ],
    [
      'no weights',
      (folder) => rmSync(join(folder, 'model.safetensors.index.json')),
      /neither it nor model\.safetensors\.index\.json/,
    ],
    [
      'pickled weights only',
      (folder) => {
        rmSync(join(folder, 'model.safetensors.index.json'))
        writeFileSync(join(folder, 'pytorch_model.bin'), '')
      },
      /pytorch_model\.bin is in a format that is not read/,
    ],
    [
      'a configuration without a family',
      (folder) => writeFileSync(join(folder, 'config.json'), '{"num_hidden_layers":2}'),
      /config\.json: content: .*model_type/s,
    ],
    [
      'another family',
      (folder) =>
        writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...one.config, model_type: 'mamba' })),
      /mamba are not supported/,
    ],
    [
      'more layers than tensors',
      (folder) =>
        writeFileSync(
          join(folder, 'config.json'),
          JSON.stringify({ ...one.config, num_hidden_layers: 1e12 }),
        ),
      /num_hidden_layers: 1000000000000 layers cannot come from/,
    ],
    [
      'a layer that the files lack',
      (folder) =>
        writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...one.config, num_hidden_layers: 3 })),
      /tensor model\.layers\.2\.input_layernorm\.weight: is missing/,
    ],
    [
      'a vocabulary of another size',
      (folder) =>
        writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...one.config, vocab_size: 1e15 })),
      /embed_tokens\.weight: has the shape 41×24/,
    ],
  ]
  test.each(cases)('%s', (_name, spoil, problem) => {
    const folder = writeSharded(one)
    spoil(folder)
    const found = problemOf(folder)
    expect(['invalid_file', 'invalid_config']).toContain(found.code)
    expect(found.message).toMatch(problem)
    expect(found.hint).toBeTruthy()
  })

  test('a folder without a configuration', () => {
    const folder = join(root, 'empty')
    mkdirSync(folder)
    expect(problemOf(folder)).toMatchObject({ code: 'not_found' })
  })
})
