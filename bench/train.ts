/**
 * `npm run bench -- train [8x128] [2x512] [prefix]`: a LoRA training step of the default model against TRL with
 * PEFT, in turns, in one run. Every contender trains the same adapter on the same ids, and the losses are compared,
 * so that nobody is measured at other work. Without names all workloads run, which takes about a quarter of an hour.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { ensureEngine, partDir } from '../src/setup/engine.mjs'
import { sizeOf } from '../src/setup/files.mjs'
import { ensureDefaultModel } from '../src/setup/model.mjs'
import { cacheDir, privateDir } from '../src/setup/paths.mjs'
import { platformWheels } from '../src/setup/wheels.mjs'
import { peerPython, peerScript } from './peers/python.ts'
import { figure, type Row } from './row.ts'
import { Contender, type Peaks } from './train/contender.ts'
import { labelled, tokensOf, type Workload, workloads } from './train/workloads.ts'

const gflopPerToken = 0.54
/** A step of the prefix workload takes TRL a minute, so there are fewer of them. */
const stepsOf = (workload: Workload): { warmUp: number; measured: number } =>
  workload.name === 'prefix' ? { warmUp: 1, measured: 3 } : { warmUp: 2, measured: 5 }
const learningRate = 1e-3
/** How far the losses of two contenders may lie apart, relative: by the dtype of the less exact one. */
const lossTolerance = { float32: 1e-3, bfloat16: 3e-2 }

/** A dtype that takes this many times as long is not measured further. */
const hopeless = 2

type By = 'engine' | 'engine-passes' | 'engine-4bit' | 'trl'
type DType = keyof typeof lossTolerance

interface EngineKind {
  dtype: DType
  quantization: 'none' | 'keep'
  /** As TRL's micro-batches: less memory at a time. Undefined: one pass. */
  maxTokensPerPass?: number
}

/** The model's file is quantised to 4 bits, so all of them train the same weights. */
const engineKinds: readonly EngineKind[] = [
  { dtype: 'float32', quantization: 'none' },
  { dtype: 'bfloat16', quantization: 'none' },
  { dtype: 'float32', quantization: 'keep' },
  { dtype: 'bfloat16', quantization: 'keep' },
  { dtype: 'bfloat16', quantization: 'none', maxTokensPerPass: 512 },
]

/** TRL's fastest micro-batch, and its seconds a row. */
interface Found {
  dtype: DType
  batch: number
  seconds: number
}

interface Entry {
  by: By
  dtype: DType
  contender: Contender
  note: string
  /** Takes one step alone, without warming up: its steps take minutes, and it is no match. */
  isSlow: boolean
}

interface Outcome {
  by: By
  dtype: DType
  note: string
  seconds: number
  losses: number[]
  peakBytes: number
  jsShare: number | null
}

const probe = z.object({ batch: z.number(), secondsPerRow: z.record(z.string(), z.number()) })

export async function run(args: readonly string[]): Promise<Row[]> {
  const chosen = workloads.filter(({ name }) => args.length === 0 || args.includes(name))
  const folder = mkdtempSync(join(tmpdir(), 'shadow-bench-train-'))
  try {
    const model = await ensureDefaultModel()
    const rows: Row[] = []
    for (const workload of chosen) rows.push(...(await compare(workload, model, folder)))
    return [...rows, await engineSize()]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function compare(workload: Workload, model: string, folder: string): Promise<Row[]> {
  const job = (extra: object, of = workload): string => {
    const path = join(folder, 'job.json')
    const rows = labelled(of.rows)
    const threads = availableParallelism()
    writeFileSync(
      path,
      JSON.stringify({ model, adapter: join(folder, 'adapter'), rows, learningRate, threads, ...extra }),
    )
    return path
  }
  const entries: Entry[] = []
  try {
    for (const kind of workload.name === '8x128' ? engineKinds : engineKinds.slice(0, 2))
      entries.push(await startEngine(kind, job(kind)))
    entries.push(...(await startTrl(workload, job)))
    const { warmUp, measured } = stepsOf(workload)
    const peaks = await takeTurns(entries, warmUp + measured)
    const outcomes: Outcome[] = []
    for (const { by, dtype, note, contender, isSlow } of entries)
      outcomes.push({
        by,
        dtype,
        note,
        seconds: contender.seconds(isSlow ? 0 : warmUp),
        losses: contender.losses,
        peakBytes: await contender.peakBytes(),
        jsShare: contender.jsShare(warmUp),
      })
    return report(workload, outcomes, peaks)
  } finally {
    for (const { contender } of entries) contender.stop()
  }
}

async function startEngine(
  { dtype, quantization, maxTokensPerPass }: EngineKind,
  job: string,
): Promise<Entry> {
  const worker = fileURLToPath(new URL('./train/engine-worker.ts', import.meta.url))
  const base = quantization === 'keep' ? '4-bit base' : 'base unquantised'
  const contender = await Contender.start(`engine ${dtype} ${base}`, process.execPath, [worker, job])
  return {
    by: quantization === 'keep' ? 'engine-4bit' : maxTokensPerPass === undefined ? 'engine' : 'engine-passes',
    dtype,
    contender,
    note: `${maxTokensPerPass === undefined ? 'one pass' : `passes of ${maxTokensPerPass} tokens`}, ${base}`,
    isSlow: false,
  }
}

/**
 * TRL at its fastest micro-batch, in f32 and in bfloat16. Where the processor has no bfloat16 products that takes minutes
 * for a step: then it takes a single step of the shortest workload, for its memory and its loss, and none of the others.
 */
async function startTrl(workload: Workload, job: (extra: object, of: Workload) => string): Promise<Entry[]> {
  // Rows of 930 tokens would take a quarter of an hour to search over: those of 512 stand for them.
  const probed = workload.name === 'prefix' ? '2x512' : workload.name
  const [shortest] = workloads
  const python = peerPython()
  const script = peerScript('trl_train.py')
  const search = async (dtype: DType, name: string, slowest: number): Promise<Found> => {
    const of = workloads.find((one) => one.name === name) ?? workload
    const path = job({ dtype, batch: 1, probe: true, slowest }, of)
    const { batch, secondsPerRow } = await remembered(`trl-${name}-${dtype}.json`, () =>
      Contender.ask(`TRL ${dtype}`, python, [script, path], probe),
    )
    console.log(`TRL ${dtype}, ${name}: seconds a row by micro-batch`, secondsPerRow)
    return { dtype, batch, seconds: secondsPerRow[batch] ?? Number.NaN }
  }
  const exact = await search('float32', shortest.name, Number.POSITIVE_INFINITY)
  const rounded = await search('bfloat16', shortest.name, hopeless * exact.seconds)
  const isSlow = rounded.seconds > hopeless * exact.seconds
  const found: Found[] = []
  for (const { dtype } of isSlow ? [exact] : [exact, rounded])
    found.push(await search(dtype, probed, Number.POSITIVE_INFINITY))
  found.sort((a, b) => a.seconds - b.seconds)
  const chosen = workload.name === 'prefix' ? found.slice(0, 1) : found
  if (isSlow && workload.name === shortest.name) chosen.push(rounded)
  const entries: Entry[] = []
  for (const one of chosen) {
    const { dtype, batch } = one
    const path = job({ dtype, batch, probe: false }, workload)
    const contender = await Contender.start(`TRL ${dtype}`, python, [script, path])
    const note = `micro-batches of ${batch}${one === rounded && isSlow ? ', one step alone' : ''}`
    entries.push({ by: 'trl', dtype, contender, note, isSlow: one === rounded && isSlow })
  }
  return entries
}

/** The search for a micro-batch takes as long as the measurement; its answer is kept under the cache folder. */
async function remembered(
  name: string,
  find: () => Promise<z.infer<typeof probe>>,
): Promise<z.infer<typeof probe>> {
  const path = join(privateDir(join(cacheDir(), 'bench')), name)
  if (existsSync(path)) return probe.parse(JSON.parse(readFileSync(path, 'utf8')))
  const found = await find()
  writeFileSync(path, JSON.stringify(found))
  return found
}

/** All contenders take each step in turn; the products' peaks before and after. */
async function takeTurns(entries: readonly Entry[], steps: number): Promise<Peaks> {
  const peaks: Peaks = { sgemm: 0, bf16: null }
  const measurePeaks = async (): Promise<void> => {
    for (const { contender } of entries) {
      const { sgemm, bf16 } = await contender.peaks()
      peaks.sgemm = Math.max(peaks.sgemm, sgemm)
      if (bf16 !== null) peaks.bf16 = Math.max(peaks.bf16 ?? 0, bf16)
    }
  }
  await measurePeaks()
  for (let step = 0; step < steps; step++)
    for (const { contender, isSlow } of entries) if (step === 0 || !isSlow) await contender.step()
  await measurePeaks()
  return peaks
}

function report(workload: Workload, outcomes: readonly Outcome[], peaks: Peaks): Row[] {
  const perSecond = ({ seconds }: Outcome): number =>
    (workload.name === 'prefix' ? workload.rows.length : tokensOf(workload)) / seconds
  const fastest = (by: Outcome['by']): Outcome => {
    const [best] = outcomes.filter((one) => one.by === by).toSorted((a, b) => a.seconds - b.seconds)
    if (best === undefined) throw new Error(`No contender of ${by}.`)
    return best
  }
  const ours = fastest('engine')
  const theirs = fastest('trl')
  const unit = workload.name === 'prefix' ? 'rows/s' : 'tokens/s'
  const bounds = workload.name === 'prefix' ? { must: 12, aim: 30 } : { must: 1.5, aim: 3 }
  const ratio = perSecond(ours) / perSecond(theirs)
  const id = `train.${workload.name}`
  return [
    {
      id,
      what: `${workload.what}: the engine in ${ours.dtype} against TRL in ${theirs.dtype}, ${theirs.note}`,
      value: perSecond(ours),
      unit,
      baseline: perSecond(theirs),
      ratio,
      must: `ratio ≥ ${bounds.must}`,
      aim: `ratio ≥ ${bounds.aim}`,
      ok: ratio >= bounds.must,
    },
    ...outcomes.map((one) =>
      figure(
        `${id}.${one.by}-${one.dtype}`,
        `the same, ${one.note}; highest resident memory ${Math.round(one.peakBytes / 2 ** 20)} MiB`,
        perSecond(one),
        unit,
      ),
    ),
    lossRow(id, outcomes),
    ...(workload.name === '8x128' ? stepRows(ours, outcomes, peaks) : []),
  ]
}

/** The largest distance of a loss to the engine's f32 loss of the same step, in units of what its dtype allows. */
function lossRow(id: string, outcomes: readonly Outcome[]): Row {
  const reference = outcomes.find(({ by, dtype }) => by === 'engine' && dtype === 'float32')?.losses ?? []
  const distances = outcomes.map(
    ({ dtype, losses }) =>
      Math.max(...losses.map((loss, step) => Math.abs(loss / (reference[step] ?? Number.NaN) - 1))) /
      lossTolerance[dtype],
  )
  const worst = Math.max(...distances)
  const allowed = `${lossTolerance.float32} in f32, ${lossTolerance.bfloat16} in bf16`
  return figure(
    `${id}.losses`,
    `largest relative distance of any contender's loss to the engine's f32 loss of the same step, as a share of what is allowed (${allowed})`,
    worst,
    'share',
    { must: '≤ 1', ok: worst <= 1 },
  )
}

function stepRows(ours: Outcome, outcomes: readonly Outcome[], peaks: Peaks): Row[] {
  const plain = outcomes.find(({ by, dtype }) => by === 'engine' && dtype === 'float32') ?? ours
  const gflops = (gflopPerToken * 1024) / plain.seconds
  const trlBytes = Math.min(...outcomes.filter(({ by }) => by === 'trl').map(({ peakBytes }) => peakBytes))
  const js = plain.jsShare
  const sparing = outcomes.find(({ by }) => by === 'engine-passes') ?? ours
  const [packed] = outcomes.filter(({ by }) => by === 'engine-4bit').toSorted((a, b) => a.seconds - b.seconds)
  return [
    {
      id: 'train.memory',
      what: `highest resident memory, 8 × 128: the engine in ${sparing.dtype}, ${sparing.note}, against TRL's smaller figure`,
      value: sparing.peakBytes / 2 ** 20,
      unit: 'MiB',
      baseline: trlBytes / 2 ** 20,
      ratio: sparing.peakBytes / trlBytes,
      must: 'ratio ≤ 0.6',
      aim: 'ratio ≤ 0.35',
      ok: sparing.peakBytes <= 0.6 * trlBytes,
    },
    {
      id: 'train.flops',
      what: `the f32 step at ${gflopPerToken} GFLOP a token against the best sgemm of the run`,
      value: gflops,
      unit: 'GFLOP/s',
      baseline: peaks.sgemm,
      ratio: gflops / peaks.sgemm,
      must: 'ratio ≥ 0.65',
      aim: 'ratio ≥ 0.85',
      ok: gflops >= 0.65 * peaks.sgemm,
    },
    {
      id: 'train.4bit',
      what: `seconds of a step on a 4-bit base, products in ${packed?.dtype}, against the f32 step`,
      value: packed?.seconds ?? null,
      unit: 's',
      baseline: plain.seconds,
      ratio: packed === undefined ? null : packed.seconds / plain.seconds,
      must: 'ratio ≤ 1.25',
      aim: 'ratio ≤ 1',
      ok: packed !== undefined && packed.seconds <= 1.25 * plain.seconds,
    },
    figure('train.peak-bf16', 'best bf16 product of the run (PyTorch through oneDNN)', peaks.bf16, 'GFLOP/s'),
    figure('train.js', "JavaScript's share of the f32 step", js === null ? null : 100 * js, '%', {
      must: '≤ 3',
      aim: '≤ 1',
      ok: js !== null && js <= 0.03,
    }),
  ]
}

async function engineSize(): Promise<Row> {
  const { mlx, openblas } = platformWheels()
  const addon = await ensureEngine()
  const parts = [mlx, ...(openblas === undefined ? [] : [openblas])].map(partDir)
  const megabytes = [dirname(addon), ...parts].reduce((total, path) => total + sizeOf(path), 0) / 1e6
  return figure('size.engine', 'MLX, OpenBLAS and the compiled addon on disk', megabytes, 'MB', {
    must: '≤ 80',
    aim: '≤ 50',
    ok: megabytes <= 80,
  })
}
