/**
 * Checkpoints in a folder, whoever wrote them: Shadow's `step-<n>`, the `checkpoint-<n>` of transformers, the
 * `0000100_adapters.safetensors` of mlx-lm; and what a training with a goal makes of them.
 */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'

export interface FoundCheckpoint {
  /** As the folder spells it. */
  name: string
  path: string
  /** Null for a finished adapter, whose name holds no step. */
  step: number | null
  /** `unreadable`: recognised, but in a format that is not read. */
  kind: 'shadow' | 'peft' | 'mlx-lm' | 'unreadable'
  bytes: number
  /** Milliseconds since the epoch. */
  modifiedAt: number
}

/** What to do with checkpoints that others wrote. */
export type ResumeDecision =
  | { state: 'none' }
  | { state: 'resume'; from: FoundCheckpoint; step: number; remaining: number; progress: number }
  | { state: 'completed'; from: FoundCheckpoint }

/** A finished adapter beside numbered ones below this share of the goal was left by another, shorter training. */
const almostDone = 0.9

/**
 * The step that a file's name without ending stands for: null for a finished adapter, undefined where the name says
 * neither (`model-00001-of-2` and `mistral-7b` hold numbers, but no steps).
 */
export function stepOfName(stem: string): number | null | undefined {
  if (stem === 'adapters' || stem === 'adapter_model') return null
  const digits =
    /^(\d{7})_adapters$/.exec(stem)?.[1] ??
    /^(?:adapters|checkpoint|step)[-_](\d+)$/.exec(stem)?.[1] ??
    /^(\d+)_adapters?$/.exec(stem)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

/** Those of a folder and of an `adapters` folder in it, oldest first, finished ones last. */
export function findCheckpoints(folder: string): FoundCheckpoint[] {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) return []
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name)
      if (!entry.isDirectory()) return checkpointFile(path) ?? []
      return entry.name === 'adapters' || entry.name === 'adapter'
        ? findCheckpoints(path)
        : (checkpointFolder(path) ?? [])
    })
    .toSorted((a, b) => (a.step ?? Number.POSITIVE_INFINITY) - (b.step ?? Number.POSITIVE_INFINITY))
}

/** @param target steps of the whole training */
export function decideResume(found: readonly FoundCheckpoint[], target: number): ResumeDecision {
  const readable = found.filter(({ kind }) => kind !== 'unreadable')
  const final = readable.find(({ step }) => step === null)
  const highest = readable.findLast(({ step }) => step !== null)
  const step = highest?.step ?? 0
  const reached = final === undefined ? target : almostDone * target
  if (highest !== undefined && step < reached)
    return { state: 'resume', from: highest, step, remaining: target - step, progress: step / target }
  const from = final ?? highest
  return from === undefined ? { state: 'none' } : { state: 'completed', from }
}

function checkpointFile(path: string): FoundCheckpoint | null {
  const [, stem, ending] = /^(.+)\.(safetensors|npz)$/.exec(basename(path)) ?? []
  const step = stem === undefined ? undefined : stepOfName(stem)
  if (step === undefined) return null
  const { size, mtimeMs } = statSync(path)
  const kind = ending === 'npz' ? 'unreadable' : stem === 'adapter_model' ? 'peft' : 'mlx-lm'
  return { name: basename(path), path, step, kind, bytes: size, modifiedAt: mtimeMs }
}

function checkpointFolder(path: string): FoundCheckpoint | null {
  const [, writer, digits] = /^(step|checkpoint)-(\d+)$/.exec(basename(path)) ?? []
  if (digits === undefined) return null
  const files = readdirSync(path).map((name) => statSync(join(path, name)))
  const has = (name: string): boolean => existsSync(join(path, name))
  const own = writer === 'step' && has('state.json')
  return {
    name: basename(path),
    path,
    step: Number(digits),
    kind: own ? 'shadow' : has('adapter_model.safetensors') ? 'peft' : 'unreadable',
    bytes: files.reduce((sum, { size }) => sum + size, 0),
    modifiedAt: statSync(path).mtimeMs,
  }
}
