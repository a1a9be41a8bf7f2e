/**
 * `npm run bench -- NAME`: runs one benchmark, prints its table and writes bench/results/NAME.json.
 * A benchmark is a file beside this one that exports `run`; adding one is that file and a line here.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { packageRoot } from '../src/setup/paths.mjs'
import { type Row, rowSchema } from './row.ts'

const benchmarks: Record<string, () => Promise<{ run: (args: readonly string[]) => Promise<Row[]> }>> = {
  train: () => import('./train.ts'),
  room: () => import('./room.ts'),
  leak: () => import('./train-leak.ts'),
  decode: () => import('./decode.ts'),
  unique: () => import('./train-unique.ts'),
  proxy: () => import('./proxy.ts'),
  chaos: () => import('./chaos.ts'),
  setup: () => import('./setup.ts'),
  demo: () => import('./demo.ts'),
  banking77: () => import('./banking77.ts'),
  run: () => import('./run-kill.ts'),
  store: () => import('./store.ts'),
  parity: () => import('./parity.ts'),
  resume: () => import('./resume.ts'),
  peers: () => import('./peers.ts'),
  fuzz: () => import('./fuzz.ts'),
}

const [name, ...args] = process.argv.slice(2)
const benchmark = name === undefined ? undefined : benchmarks[name]
if (name === undefined || benchmark === undefined) {
  console.error(`Name a benchmark: npm run bench -- ${Object.keys(benchmarks).join(' | ')}`)
  process.exitCode = 2
} else {
  const { run } = await benchmark()
  const command = ['npm run bench --', name, ...args].join(' ')
  const measured = await run(args)
  const date = new Date().toISOString()
  // Rows that a part measured stand beside those of other parts.
  const rows = measured.map((row) => (args.length === 0 ? row : { command, date, ...row }))
  const root = packageRoot()
  const folder = join(root, 'bench', 'results')
  mkdirSync(folder, { recursive: true })
  const path = join(folder, `${name}.json`)
  // A part of a benchmark replaces its own figures and leaves the others.
  const kept =
    args.length === 0 ? [] : earlierRows(path).filter(({ id }) => !rows.some((row) => row.id === id))
  const result = {
    command,
    date,
    machine: {
      cpu: cpus()[0]?.model.trim() ?? 'unknown',
      cores: cpus().length,
      memoryGb: Math.round(totalmem() / 2 ** 30),
      os: `${process.platform} ${release()} ${process.arch}`,
    },
    versions: versions(root),
    rows: [...kept, ...rows],
  }
  writeFileSync(path, `${JSON.stringify(result, null, 2)}\n`)
  console.table(
    rows.map(({ id, value, unit, baseline, ratio, must, ok }) => ({
      id,
      value: round(value),
      unit,
      baseline: round(baseline),
      ratio: round(ratio),
      must,
      ok,
    })),
  )
}

function versions(root: string): Record<string, string> {
  const manifest = z
    .object({ version: z.string(), dependencies: z.record(z.string(), z.string()) })
    .parse(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')))
  return { shadow: manifest.version, node: process.version, ...manifest.dependencies }
}

function earlierRows(path: string): Row[] {
  if (!existsSync(path)) return []
  const { command, date, rows } = z
    .object({ command: z.string(), date: z.string(), rows: z.array(rowSchema) })
    .parse(JSON.parse(readFileSync(path, 'utf8')))
  return rows.map((row) => ({ command, date, ...row }))
}

function round(value: number | null): number | null {
  return value === null ? null : Number(value.toPrecision(4))
}
