/**
 * `npm run bench -- room [8192] [0.5b] [1.7b]`: what a LoRA training takes where memory is short. One row of 8,192 tokens
 * of the default model; a step of 8 × 128 tokens of larger shapes on a 4-bit base, their weights random, beside TRL with
 * PEFT. TRL has no 4-bit base without a GPU, and is measured with gradient checkpointing, a row at a time: its speed in
 * float32, its memory in bfloat16, which takes less, and minutes for a row where the processor has no such instructions.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensureDefaultModel } from '../src/setup/model.mjs'
import { peerPython, peerScript } from './peers/python.ts'
import { writeRandomModel } from './room/random-model.ts'
import { type Shape, shapes } from './room/shapes.ts'
import { figure, type Row } from './row.ts'
import { Contender } from './train/contender.ts'
import { type BenchRow, labelled, wholeRows } from './train/workloads.ts'

const longRowTokens = 8192
const longRowBytes = 3e9
const [rowCount, rowTokens] = [8, 128]
/** Relative; the engine's weights are rounded to 4 bits. */
const lossTolerance = 3e-2

interface Job {
  model: string
  rows: readonly BenchRow[]
  gradientCheckpointing: boolean
}

interface Measured {
  seconds: number
  peakBytes: number
  losses: readonly number[]
}

export async function run(args: readonly string[]): Promise<Row[]> {
  const isChosen = (name: string): boolean => args.length === 0 || args.includes(name)
  const folder = mkdtempSync(join(tmpdir(), 'shadow-bench-room-'))
  try {
    const rows: Row[] = []
    if (isChosen('8192')) rows.push(...(await longRow(folder)))
    for (const shape of shapes) if (isChosen(shape.name)) rows.push(...(await largerModel(folder, shape)))
    return rows
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** One step alone: it takes minutes, and what a first step does besides takes seconds. */
async function longRow(folder: string): Promise<Row[]> {
  const job = {
    model: await ensureDefaultModel(),
    rows: wholeRows(1, longRowTokens),
    gradientCheckpointing: true,
  }
  const rows: Row[] = []
  for (const [id, what, quantization] of [
    ['bfloat16', 'base in bfloat16', 'none'],
    ['4bit', '4-bit base', 'keep'],
  ] as const) {
    const { seconds, peakBytes } = await engineSteps(folder, job, { dtype: 'bfloat16', quantization }, 0)
    rows.push(
      figure(
        `room.8192.${id}`,
        `highest resident memory of a step over one row of ${longRowTokens} tokens, default model, LoRA r=16 on all linear layers, gradient checkpointing, ${what}; ${speed(longRowTokens, seconds)}`,
        peakBytes / 1e9,
        'GB',
        { must: '≤ 3', ok: peakBytes <= longRowBytes },
      ),
    )
  }
  return rows
}

async function largerModel(folder: string, shape: Shape): Promise<Row[]> {
  const model = join(folder, shape.name)
  await writeRandomModel(model, shape)
  const rows = wholeRows(rowCount, rowTokens)
  const kind = { dtype: 'float32', quantization: { bits: 4 } } as const
  const sparing = { model, rows, gradientCheckpointing: true }
  const quick = await engineSteps(folder, { ...sparing, gradientCheckpointing: false }, kind, 1)
  const small = await engineSteps(folder, sparing, kind, 1)
  const trl = await trlSteps(folder, sparing, 'float32')
  const least = await trlSteps(folder, { ...sparing, rows: rows.slice(0, 1) }, 'bfloat16')
  rmSync(model, { recursive: true })
  const work = `${shape.what}, LoRA r=16 on all linear layers, ${rowCount} × ${rowTokens} tokens`
  const others = 'with gradient checkpointing, a row at a time'
  const tokens = rowCount * rowTokens
  const distance = Math.max(
    ...trl.losses.map((loss, step) => Math.abs(loss / (quick.losses[step] ?? Number.NaN) - 1)),
  )
  return [
    compared(
      `room.${shape.name}.speed`,
      `${work}: the engine on a 4-bit base, against TRL in float32 ${others}; losses differ by ${distance.toExponential(1)} relative`,
      [tokens / quick.seconds, tokens / trl.seconds],
      'tokens/s',
      distance <= lossTolerance,
    ),
    ...[
      ['memory', 'the same step', quick] as const,
      ['memory-checkpointed', `with gradient checkpointing, ${speed(tokens, small.seconds)}`, small] as const,
    ].map(([id, what, { peakBytes }]) =>
      compared(
        `room.${shape.name}.${id}`,
        `highest resident memory, ${what}, against that of TRL in bfloat16 ${others} (in float32 ${(trl.peakBytes / 1e9).toFixed(1)} GB)`,
        [peakBytes / 1e9, least.peakBytes / 1e9],
        'GB',
      ),
    ),
  ]
}

function compared(
  id: string,
  what: string,
  [value, baseline]: readonly [number, number],
  unit: string,
  ok = true,
): Row {
  return { id, what, value, unit, baseline, ratio: value / baseline, must: null, aim: null, ok }
}

function speed(tokens: number, seconds: number): string {
  return `${seconds.toFixed(1)} s a step, ${(tokens / seconds).toFixed(1)} tokens/s`
}

function engineSteps(folder: string, job: Job, kind: object, warmUp: number): Promise<Measured> {
  const worker = fileURLToPath(new URL('./train/engine-worker.ts', import.meta.url))
  return steps(process.execPath, [worker, written(folder, job, kind)], warmUp)
}

function trlSteps(folder: string, job: Job, dtype: string): Promise<Measured> {
  const path = written(folder, job, { dtype, batch: 1, probe: false })
  return steps(peerPython(), [peerScript('trl_train.py'), path], 0)
}

function written(folder: string, { rows, model, ...job }: Job, kind: object): string {
  const path = join(folder, 'job.json')
  // The engine makes the adapter, and TRL starts from the same.
  const adapter = join(folder, `adapter-of-${basename(model)}`)
  const threads = availableParallelism()
  writeFileSync(
    path,
    JSON.stringify({ model, adapter, rows: labelled(rows), learningRate: 1e-3, threads, ...job, ...kind }),
  )
  return path
}

/** Takes `warmUp` steps and one that counts, in a process of its own. */
async function steps(command: string, args: readonly string[], warmUp: number): Promise<Measured> {
  const contender = await Contender.start(args.join(' '), command, args)
  try {
    for (let step = 0; step <= warmUp; step++) await contender.step()
    const { losses } = contender
    return { seconds: contender.seconds(warmUp), peakBytes: await contender.peakBytes(), losses }
  } finally {
    contender.stop()
  }
}
