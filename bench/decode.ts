/**
 * `npm run bench -- decode`: greedy generation of the default model against llama.cpp, in turns, in one run: the same
 * GGUF file, the same threads, prompts of 32 tokens, 128 generated, the prompts' time left out. What both answer is
 * compared.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { chatTemplateOf, loadText } from '../src/engine/index.ts'
import { ensureDefaultModel } from '../src/setup/model.mjs'
import { peerPython, peerScript } from './peers/python.ts'
import { figure, median, type Row } from './row.ts'
import { Contender } from './train/contender.ts'

const promptTokens = 32
const generated = 128
const rounds = 3

const outcome = z.object({ seconds: z.number(), tokens: z.number(), ids: z.array(z.array(z.number())) })

interface Entry {
  name: string
  what: string
  contender: Contender
}

/** How the engine may hold the file's weights. */
const engineKinds = [
  { name: 'packed', what: 'weights packed as in the file', quantization: 'keep', dtype: 'float32' },
  { name: 'bfloat16', what: 'weights in bfloat16', quantization: 'none', dtype: 'bfloat16' },
  { name: 'float32', what: 'weights in float32', quantization: 'none', dtype: 'float32' },
] as const

export async function run(): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'shadow-bench-decode-'))
  const entries: Entry[] = []
  try {
    const model = await ensureDefaultModel()
    const prompts = sixteenPrompts(model)
    const job = (extra: object): string => {
      const path = join(folder, 'job.json')
      const threads = availableParallelism()
      writeFileSync(path, JSON.stringify({ model, prompts, tokens: generated, threads, ...extra }))
      return path
    }
    const worker = fileURLToPath(new URL('./decode-worker.ts', import.meta.url))
    for (const { name, what, ...kind } of engineKinds) {
      const contender = await Contender.start(`engine ${name}`, process.execPath, [worker, job(kind)])
      entries.push({ name, what, contender })
    }
    const llama = await Contender.start('llama.cpp', peerPython(), [peerScript('llama_decode.py'), job({})])
    entries.push({ name: 'llama.cpp', what: 'llama.cpp', contender: llama })
    return [
      ...(await compare(1, entries, { must: 0.7, aim: 1.5 })),
      ...(await compare(16, entries, { must: 2, aim: 4 })),
    ]
  } finally {
    for (const { contender } of entries) contender.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Different from the first tokens on, so that no sequence is computed once for all. */
function sixteenPrompts(model: string): number[][] {
  const text = loadText(model)
  const { tokenizer } = text
  const chatTemplate = chatTemplateOf(text)
  return Array.from({ length: 16 }, (_, i) => {
    const content = `${i + 3} facts about the river that flows through the capital of country number ${i * 7 + 2}, please, with a word on its history`
    const prompt = chatTemplate.render([
      { role: 'system', content: `Answer ${i}.` },
      { role: 'user', content },
    ])
    return [...tokenizer.encode(prompt)].slice(0, promptTokens)
  })
}

async function compare(
  sequences: number,
  entries: readonly Entry[],
  bounds: { must: number; aim: number },
): Promise<Row[]> {
  const speeds = new Map<string, number[]>()
  const answers = new Map<string, number[][]>()
  for (let round = 0; round <= rounds; round++)
    for (const { name, contender } of entries) {
      const { seconds, tokens, ids } = await contender.request(`run ${sequences}`, outcome)
      answers.set(name, ids)
      if (round > 0) speeds.set(name, [...(speeds.get(name) ?? []), tokens / seconds])
    }
  const speed = (name: string): number => median(speeds.get(name) ?? [])
  const peer = speed('llama.cpp')
  const [best] = engineKinds.toSorted((a, b) => speed(b.name) - speed(a.name))
  if (best === undefined) throw new Error('The engine has no way to hold weights.')
  const id = `decode.${sequences}`
  const together = sequences === 1 ? 'one sequence' : `${sequences} sequences together`
  const ratio = speed(best.name) / peer
  return [
    {
      id,
      what: `${together}, ${best.what}, against llama.cpp`,
      value: speed(best.name),
      unit: 'tokens/s',
      baseline: peer,
      ratio,
      must: `ratio ≥ ${bounds.must}`,
      aim: `ratio ≥ ${bounds.aim}`,
      ok: ratio >= bounds.must,
    },
    ...engineKinds.map(({ name, what }) =>
      figure(
        `${id}.${name}`,
        `${together}, ${what}; the first ${agreement(answers.get(name), answers.get('llama.cpp'))} tokens of an answer (median) are llama.cpp's, which rounds activations to 8 bits`,
        speed(name),
        'tokens/s',
      ),
    ),
  ]
}

/** Median over the sequences of how many leading tokens agree. */
function agreement(ours: readonly number[][] = [], theirs: readonly number[][] = []): number {
  return median(
    ours.map((ids, index) => {
      const other = theirs[index] ?? []
      const different = ids.findIndex((id, t) => id !== other[t])
      return different < 0 ? ids.length : different
    }),
  )
}
