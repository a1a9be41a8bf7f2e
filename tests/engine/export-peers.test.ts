/**
 * The tools that exports are made for really load them and answer as this engine does. They are Python
 * environments of several gigabytes, so these run where SHADOW_PEERS_PYTHON (torch, transformers, peft,
 * llama-cpp-python) and SHADOW_PEERS_MLX (mlx-lm) name their interpreters.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { GenerationScheduler, loadLora, loadModel, pack, Runtime } from '../../src/engine/index.ts'
import { type ExportFormat, exportModel } from '../../src/engine/io/export.ts'
import { saveAdapter } from '../../src/engine/io/peft.ts'
import { defaultModelPath } from '../../src/setup/model.mjs'
import { pseudoRandom } from './pseudo-random.ts'
import { maxDifference } from './tiny-llama.ts'

const python = process.env['SHADOW_PEERS_PYTHON']
const mlxPython = process.env['SHADOW_PEERS_MLX']
const folder = mkdtempSync(join(tmpdir(), 'shadow-peers-'))
afterAll(() => rmSync(folder, { recursive: true }))

const answers = z.record(
  z.string(),
  z.object({
    logits: z.array(z.number()),
    greedy: z.array(z.number()),
    ids: z.array(z.number()).optional(),
    chat: z.string().optional(),
  }),
)
const text = 'Order 4711: where  is it? 🙂'

function ask(interpreter: string, ...peers: string[]): z.infer<typeof answers> {
  const script = fileURLToPath(new URL('../fixtures/scripts/peers.py', import.meta.url))
  const options = {
    maxBuffer: 2 ** 28,
    stdio: ['ignore', 'pipe', 'inherit'] as ['ignore', 'pipe', 'inherit'],
  }
  const output = execFileSync(interpreter, [script, folder, ...peers], options).toString()
  return answers.parse(JSON.parse(output))
}

describe.skipIf(python === undefined && mlxPython === undefined)('peers', async () => {
  const basePath = defaultModelPath()
  const runtime = new Runtime({ threads: 2 })
  const loaded = loadModel(runtime, basePath)
  const { model, tokenizer, chatTemplate } = loaded
  const tensors = new Map(
    model.linears.flatMap(({ path, inFeatures, outFeatures }, index) => [
      [`${path}.lora_A.weight`, { shape: [4, inFeatures], data: pseudoRandom(4 * inFeatures, index, 0.1) }],
      [
        `${path}.lora_B.weight`,
        { shape: [outFeatures, 4], data: pseudoRandom(4 * outFeatures, index, 0.03) },
      ],
    ]),
  )
  const target_modules = [...new Set(model.linears.map(({ path }) => path.split('.').at(-1) ?? ''))]
  const fixed = { peft_type: 'LORA', lora_dropout: 0, use_rslora: false, use_dora: false } as const
  const peft = join(folder, 'peft')
  await saveAdapter(peft, { config: { ...fixed, r: 4, lora_alpha: 8, target_modules }, tensors })
  const write = (name: string, format: ExportFormat, adapterFolder: string | null, type?: string) =>
    exportModel({ basePath, adapterFolder, format, outFolder: join(folder, name), ...(type && { type }) })
  await write('hf-base', 'hf', null)
  await write('hf', 'hf', peft)
  await write('mlx-lm', 'mlx-lm', peft)
  await write('gguf', 'gguf', peft, 'f32')
  await write('q8_0', 'gguf', peft, 'q8_0')
  await write('base', 'gguf', null, 'f32')
  await write('gguf-lora', 'gguf-lora', peft)

  const prompt = [...chatTemplate.encodePrompt([{ role: 'user', content: 'Name three colours.' }])]
  writeFileSync(join(folder, 'prompt.json'), JSON.stringify(prompt))
  writeFileSync(join(folder, 'text.json'), JSON.stringify(text))
  const adapter = loadLora(model, peft)
  const logits = runtime.tidy(() => {
    const all = model.logits(model.hidden(pack([prompt]), adapter.view())).toFloat32Array()
    return all.slice(-model.vocabularySize)
  })
  using scheduler = new GenerationScheduler(model, { maxBatch: 1, maxContext: 256 })
  scheduler.addAdapter('x', adapter)
  const greedy = await scheduler.submit({
    promptIds: prompt,
    maxTokens: 8,
    temperature: 0,
    topP: 1,
    stopIds: [],
    adapter: 'x',
  })

  const cases: [string, string | undefined, number][] = [
    ['peft', python, 2e-3],
    ['transformers', python, 2e-3],
    ['llama.cpp', python, 0.05],
    ['llama.cpp-lora', python, 0.05],
    ['llama.cpp-q8_0', python, 2],
    ['mlx-lm', mlxPython, 5e-3],
  ]
  test.each(cases.filter(([, interpreter]) => interpreter !== undefined))(
    '%s answers as we do',
    (peer, interpreter, tolerance) => {
      const answer = ask(interpreter ?? '', peer)[peer]
      const difference = maxDifference(Float32Array.from(answer?.logits ?? []), logits)
      process.stdout.write(`${peer}: largest difference of a logit ${difference.toExponential(2)}\n`)
      expect(difference).toBeLessThan(tolerance)
      if (tolerance < 1) expect(answer?.greedy).toEqual(greedy.ids)
      if (answer?.ids !== undefined) expect(answer.ids).toEqual([...tokenizer.encode(text)])
      const chat = chatTemplate.render([{ role: 'user', content: text }], { addGenerationPrompt: true })
      if (answer?.chat !== undefined) expect(answer.chat).toBe(chat)
    },
    300_000,
  )
})
