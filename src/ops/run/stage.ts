/**
 * One stage of a run: hashed inputs in, hashed outputs out. A stage whose output for these inputs exists
 * is read back instead of run; one that was killed starts over with nothing half-written in its way.
 */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { z } from 'zod'
import type { StageName } from '../../contract/run.ts'
import { canonicalJson } from '../../lib/canonical-json.ts'
import { ShadowError } from '../../lib/error.ts'
import { privateFolder, syncFolder } from '../../lib/files.ts'
import type { PipelineStore } from '../../store/pipeline/pipeline-store.ts'
import type { ProgressSink, StageProgress } from '../progress.ts'

export type Facts = Record<string, string | number>

export interface StageFolders {
  /** Files written here appear under the stage's final name when it has finished, all at once. */
  readonly output: string
  /** Survives a kill: what a stage keeps here lets it go on where it was. Removed when it has finished. */
  readonly work: string
}

export interface StageSpec<Output> {
  name: StageName
  /** Everything that the output depends on; hashed into the stage's key. */
  inputs: unknown
  /** Reads the output back. Paths in it are relative to the stage's folder. */
  output: z.ZodType<Output>
  run(folders: StageFolders, progress: StageProgress): Promise<Output>
  /** What a person is told of it. */
  facts(output: Output): Facts
}

export interface StageResult<Output> {
  key: string
  /** Absolute path of the stage's folder. */
  folder: string
  output: Output
}

export interface StageReport {
  name: StageName
  key: string
  tookMs: number
  reused: boolean
  facts: Facts
}

/** Bumped when a stage's code changes what it makes of the same inputs. */
const stageRevision: Record<StageName, number> = {
  collect: 1,
  split: 1,
  group: 1,
  judge: 1,
  dataset: 1,
  train: 3,
  evaluate: 1,
  gate: 1,
  promote: 1,
}

export class StageRunner {
  readonly reports: StageReport[] = []
  readonly #context: {
    run: string
    task: string
    home: string
    pipeline: PipelineStore
    progress: ProgressSink
  }

  constructor(context: {
    run: string
    task: string
    home: string
    pipeline: PipelineStore
    progress: ProgressSink
  }) {
    this.#context = context
  }

  async run<Output>(spec: StageSpec<Output>): Promise<StageResult<Output>> {
    const { run, task, home, pipeline, progress } = this.#context
    const key = keyOf(task, spec.name, spec.inputs)
    const { final: folder, work } = stageFolders(home, task, spec.name, key)
    await pipeline.runs.update(run, { stage: spec.name })

    const finished = await pipeline.stages.find(key)
    // Files that somebody has removed are made again.
    if (finished !== null && !existsSync(folder)) await pipeline.stages.forget(key)
    else if (finished !== null) {
      const output = readBack(spec, finished.output)
      await pipeline.stages.log({ run, name: spec.name, key, event: 'reused', at: Date.now() })
      this.#report(spec, { key, tookMs: finished.tookMs, reused: true, output })
      return { key, folder, output }
    }

    const reporter = progress.begin(spec.name)
    const started = performance.now()
    await pipeline.stages.log({ run, name: spec.name, key, event: 'started', at: Date.now() })
    const partial = `${folder}.partial`
    await rm(partial, { recursive: true, force: true })
    await rm(folder, { recursive: true, force: true })
    await privateFolder(partial)
    await privateFolder(work)
    const output = await spec.run({ output: partial, work }, reporter)
    await rename(partial, folder)
    await syncFolder(join(folder, '..'))
    const tookMs = performance.now() - started
    await pipeline.stages.finish({ key, task, name: spec.name, tookMs, output }, run)
    await rm(work, { recursive: true, force: true })
    this.#report(spec, { key, tookMs, reused: false, output })
    return { key, folder, output }
  }

  #report<Output>(
    spec: StageSpec<Output>,
    done: { key: string; tookMs: number; reused: boolean; output: Output },
  ): void {
    const facts = spec.facts(done.output)
    const { output: _, ...rest } = done
    this.reports.push({ name: spec.name, ...rest, facts })
    this.#context.progress.end(spec.name, { tookMs: done.tookMs, reused: done.reused, facts })
  }
}

/** A stage's key: the hash of its name, revision, task and inputs. */
export function keyOf(task: string, name: StageName, inputs: unknown): string {
  const text = canonicalJson({ task, name, revision: stageRevision[name], inputs })
  return createHash('sha256').update(text).digest('hex')
}

/** Where a stage's files are when it has finished, and where it works until then. */
export function stageFolders(
  home: string,
  task: string,
  name: StageName,
  key: string,
): { final: string; work: string } {
  const folder = `${name}-${key.slice(0, 16)}`
  return { final: join(home, 'artifacts', task, folder), work: join(home, 'work', task, folder) }
}

/** A path as it is stored: relative to SHADOW_HOME, so that the folder can be moved or copied. */
export function storedPath(home: string, path: string): string {
  return relative(home, path)
}

function readBack<Output>(spec: StageSpec<Output>, stored: unknown): Output {
  const parsed = spec.output.safeParse(stored)
  if (parsed.success) return parsed.data
  throw new ShadowError('store_failed', `The stored output of stage ${spec.name} can't be read.`, {
    hint: 'It was written by another version of Shadow; change the task or capture more calls to make a new one.',
    cause: parsed.error,
  })
}
