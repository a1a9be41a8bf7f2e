/** Killing `shadow run` inside a stage, on a copy of a home, and what the next run makes of it. */
import { existsSync } from 'node:fs'
import { cp, mkdtemp, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import SqliteDatabase from 'better-sqlite3'
import { z } from 'zod'
import type { StageName } from '../../src/contract/run.ts'
import { type TestHome, useHome } from './home.ts'

const stageEvent = z.object({ name: z.string(), key: z.string(), event: z.string() })
type StageEvent = z.infer<typeof stageEvent>

const trainOutput = z.object({ adapterHash: z.string() })

/** Where to kill: as soon as the stage has started, or once its training has saved a checkpoint. */
export interface KillPoint {
  stage: StageName
  afterCheckpoint?: boolean
}

export interface Outcome {
  /** SHA-256 over the adapter's files. */
  adapterHash: string
  /** Stages that ran again although they had finished. */
  ranTwice: string[]
  /** How often the route was changed to the owned version. */
  takeovers: number
  versions: number
}

/** A copy of a home that nothing has open. */
export async function copyHome(home: string): Promise<TestHome> {
  const copy = await mkdtemp(join(tmpdir(), 'shadow-kill-'))
  await cp(home, copy, { recursive: true })
  return useHome(copy)
}

/** Runs to the end. @throws Error with the command's own words */
export async function runToEnd(home: TestHome, task: string): Promise<Outcome> {
  const { code, stdout, stderr } = await home.shadow(['run', '--task', task])
  if (code !== 0) throw new Error(`The run failed: ${stdout}\n${stderr}`)
  return outcomeOf(home, task)
}

/**
 * Starts a run and kills it with SIGKILL inside a stage.
 * @returns false when the stage had finished before the signal came
 */
export async function killInside(home: TestHome, task: string, point: KillPoint): Promise<boolean> {
  const running = home.start(['run', '--task', task])
  const database = new SqliteDatabase(join(home.path, 'pipeline.db'), { timeout: 5_000 })
  const latest = database.prepare<[string], { event: string }>(
    'SELECT event FROM stage_events WHERE name = ? ORDER BY id DESC LIMIT 1',
  )
  try {
    const ended = running.finished.then(() => true)
    const hasEnded = (): Promise<boolean> => Promise.race([ended, sleep(0, false)])
    while (
      !(await hasEnded()) &&
      !(latest.get(point.stage)?.event === 'started' && (await reached(home, task, point)))
    ) {
      await sleep(point.afterCheckpoint === true ? 20 : 0)
    }
    running.kill('SIGKILL')
    const { signal } = await running.finished
    return signal === 'SIGKILL' && latest.get(point.stage)?.event === 'started'
  } finally {
    database.close()
  }
}

async function reached(home: TestHome, task: string, point: KillPoint): Promise<boolean> {
  if (point.afterCheckpoint !== true) return true
  const work = join(home.path, 'work', task)
  if (!existsSync(work)) return false
  const names = await readdir(work, { recursive: true })
  return names.some((name) => /step-\d+$/.test(name))
}

function outcomeOf(home: TestHome, task: string): Outcome {
  const database = new SqliteDatabase(join(home.path, 'pipeline.db'), { readonly: true })
  try {
    const events = z
      .array(stageEvent)
      .parse(database.prepare('SELECT name, key, event FROM stage_events ORDER BY id').all())
    const trained = database
      .prepare<[string], { output: string }>("SELECT output FROM stages WHERE name = 'train' AND task = ?")
      .get(task)
    const count = (sql: string): number =>
      database.prepare<[string], { count: number }>(`SELECT count(*) AS count FROM ${sql}`).get(task)
        ?.count ?? 0
    return {
      adapterHash: trainOutput.parse(JSON.parse(trained?.output ?? 'null')).adapterHash,
      ranTwice: startedAgain(events),
      takeovers: count("route_events WHERE task = ? AND state = 'owned'"),
      versions: count('model_versions WHERE task = ?'),
    }
  } finally {
    database.close()
  }
}

function startedAgain(events: readonly StageEvent[]): string[] {
  const finished = new Set<string>()
  return events.flatMap(({ name, key, event }) => {
    const again = event !== 'reused' && finished.has(key)
    if (event === 'finished') finished.add(key)
    return again ? [name] : []
  })
}
