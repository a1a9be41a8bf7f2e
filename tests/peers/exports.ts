/**
 * What Shadow exports, loaded by the tools that it is for: each answers one prompt, and its logits and greedy tokens
 * are compared with this engine's own. Tests and `bench -- peers` share it.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import {
  chatTemplateOf,
  type CausalLM,
  GenerationScheduler,
  loadLora,
  loadModel,
  pack,
  Runtime,
} from '../../src/engine/index.ts'
import type { LoraAdapter, LoraConfig } from '../../src/engine/io/adapter.ts'
import { type ExportFormat, exportModel } from '../../src/engine/io/export.ts'
import { saveAdapter } from '../../src/engine/io/peft.ts'
import { defaultModelPath } from '../../src/setup/model.mjs'
import { maxDifference } from '../engine/tiny-llama.ts'
import { randomAdapter } from '../engine/tiny-adapters.ts'
import { type PeerEnvironment, peerPython } from './environments.ts'

export interface PeerCase {
  /** As peers.py knows it. */
  readonly peer: string
  readonly environment: PeerEnvironment
  /** The adapter that it is compared with. */
  readonly adapter: keyof typeof kinds
  /** Of a logit, absolute. llama.cpp keeps activations and its KV cache in other types than f32. */
  readonly tolerance: number
  /** Weights are rounded, so greedy tokens need not be the same. */
  readonly rounded?: true
}

const kinds = {
  plain: {},
  patterns: { rank_pattern: { v_proj: 2, 'layers.3.mlp.up_proj': 6 }, alpha_pattern: { q_proj: 3 } },
  rslora: { use_rslora: true, lora_alpha: 4 },
  dora: { use_dora: true, target_modules: ['v_proj', 'down_proj'] },
} satisfies Record<string, Partial<LoraConfig>>

export const peerCases: readonly PeerCase[] = [
  { peer: 'peft', environment: 'peft', adapter: 'plain', tolerance: 2e-3 },
  { peer: 'peft-patterns', environment: 'peft', adapter: 'patterns', tolerance: 2e-3 },
  { peer: 'peft-rslora', environment: 'peft', adapter: 'rslora', tolerance: 2e-3 },
  { peer: 'peft-dora', environment: 'peft', adapter: 'dora', tolerance: 2e-3 },
  { peer: 'transformers', environment: 'peft', adapter: 'plain', tolerance: 2e-3 },
  { peer: 'llama.cpp', environment: 'peft', adapter: 'plain', tolerance: 0.05 },
  { peer: 'llama.cpp-lora', environment: 'peft', adapter: 'plain', tolerance: 0.05 },
  { peer: 'llama.cpp-q8_0', environment: 'peft', adapter: 'plain', tolerance: 2, rounded: true },
  { peer: 'mlx-lm', environment: 'mlx-lm', adapter: 'plain', tolerance: 5e-3 },
  { peer: 'mlx-lm-rslora', environment: 'mlx-lm', adapter: 'rslora', tolerance: 5e-3 },
  { peer: 'mlx-lm-dora', environment: 'mlx-lm', adapter: 'dora', tolerance: 5e-3 },
  { peer: 'mlx-lm-merged', environment: 'mlx-lm', adapter: 'plain', tolerance: 5e-3 },
]

const answerSchema = z.object({
  logits: z.array(z.number()),
  greedy: z.array(z.number()),
  ids: z.array(z.number()).optional(),
  chat: z.string().optional(),
})
type Answer = z.infer<typeof answerSchema>

/** What a peer is to say of its text and its prompt. */
export interface PeerResult {
  readonly answer: Answer
  readonly expected: Required<Answer>
  /** Largest difference of a logit. */
  readonly difference: number
  /** Everything that is compared is within its bounds. */
  readonly agrees: boolean
}

const text = 'Order 4711: where  is it? 🙂'

/** Writes every export of the default model into a folder. */
export async function preparePeers(folder: string): Promise<(peerCase: PeerCase) => PeerResult> {
  const basePath = defaultModelPath()
  const runtime = new Runtime()
  const { model, ...modelText } = loadModel(runtime, basePath)
  const { tokenizer } = modelText
  const chatTemplate = chatTemplateOf(modelText)
  const write = (name: string, format: ExportFormat, adapterFolder: string | null, type?: string) =>
    exportModel({ basePath, adapterFolder, format, outFolder: join(folder, name), ...(type && { type }) })
  const prompt = [...chatTemplate.encodePrompt([{ role: 'user', content: 'Name three colours.' }])]
  const answers = new Map<string, Pick<Answer, 'logits' | 'greedy'>>()
  for (const [name, fields] of Object.entries(kinds)) {
    const peft = join(folder, `peft-${name}`)
    await saveAdapter(peft, smaller(randomAdapter(basePath, fields)))
    if (name !== 'patterns') await write(`mlx-lm-${name}`, 'mlx-lm', peft)
    answers.set(name, await answerOf(runtime, model, peft, prompt))
  }
  const plain = join(folder, 'peft-plain')
  await write('hf-base', 'hf', null)
  await write('hf', 'hf', plain)
  await write('gguf', 'gguf', plain, 'f32')
  await write('q8_0', 'gguf', plain, 'q8_0')
  await write('base', 'gguf', null, 'f32')
  await write('gguf-lora', 'gguf-lora', plain)
  writeFileSync(join(folder, 'prompt.json'), JSON.stringify(prompt))
  writeFileSync(join(folder, 'text.json'), JSON.stringify(text))
  const said = {
    ids: [...tokenizer.encode(text)],
    chat: chatTemplate.render([{ role: 'user', content: text }], { addGenerationPrompt: true }),
  }
  return (peerCase) => {
    const answer = ask(folder, peerCase)
    const expected = { ...said, ...(answers.get(peerCase.adapter) ?? { logits: [], greedy: [] }) }
    const difference = maxDifference(Float32Array.from(answer.logits), Float32Array.from(expected.logits))
    const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)
    const agrees =
      difference <= peerCase.tolerance &&
      (peerCase.rounded === true || same(answer.greedy, expected.greedy)) &&
      (answer.ids === undefined || same(answer.ids, expected.ids)) &&
      (answer.chat === undefined || answer.chat === expected.chat)
    return { answer, expected, difference, agrees }
  }
}

/** Random factors as small as trained ones are, so that thirty layers of them leave text. */
function smaller({ config, tensors }: LoraAdapter): LoraAdapter {
  const { target_modules: targets } = config
  const kept = [...tensors].filter(([name]) =>
    Array.isArray(targets) ? targets.some((target) => name.includes(`.${target}.`)) : true,
  )
  const scaled = kept.map(
    ([name, { shape, data }]): [string, { shape: readonly number[]; data: Float32Array }] => {
      const factor = name.endsWith('lora_A.weight') ? 1 / 3 : name.endsWith('lora_B.weight') ? 0.1 : 1
      return [name, { shape, data: data.map((value) => value * factor) }]
    },
  )
  return { config, tensors: new Map(scaled) }
}

async function answerOf(
  runtime: Runtime,
  model: CausalLM,
  adapterFolder: string,
  promptIds: readonly number[],
): Promise<Pick<Answer, 'logits' | 'greedy'>> {
  const adapter = loadLora(model, adapterFolder)
  const logits = runtime.tidy(() =>
    model.logits(model.hidden(pack([[...promptIds]]), adapter.view())).toFloat32Array(),
  )
  using scheduler = new GenerationScheduler(model, { maxBatch: 1, maxContext: 256 })
  scheduler.addAdapter('x', adapter)
  const settings = { maxTokens: 8, temperature: 0, topP: 1, stopIds: [], adapter: 'x' }
  const { ids } = await scheduler.submit({ promptIds: [...promptIds], ...settings })
  return { logits: Array.from(logits.slice(-model.vocabularySize)), greedy: [...ids] }
}

function ask(folder: string, { peer, environment }: PeerCase): Answer {
  const script = fileURLToPath(new URL('./peers.py', import.meta.url))
  const output = execFileSync(peerPython(environment), [script, folder, peer], {
    maxBuffer: 2 ** 28,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return answerSchema.parse(JSON.parse(output.toString().trim().split('\n').at(-1) ?? ''))
}
