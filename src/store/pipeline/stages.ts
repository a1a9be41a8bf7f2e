/** Finished stages by the hash of their inputs, and a log of what ran when. */
import type { Kysely } from 'kysely'
import type { PipelineSchema } from './schema.ts'

export interface FinishedStage {
  key: string
  name: string
  tookMs: number
  finishedAt: number
  /** JSON as the stage wrote it; the stage's own schema reads it. */
  output: unknown
}

export interface StageEvent {
  run: string
  name: string
  key: string
  event: 'started' | 'finished' | 'reused'
  at: number
}

export class StageRepository {
  readonly #db: Kysely<PipelineSchema>

  constructor(db: Kysely<PipelineSchema>) {
    this.#db = db
  }

  async find(key: string): Promise<FinishedStage | null> {
    const row = await this.#db.selectFrom('stages').selectAll().where('key', '=', key).executeTakeFirst()
    if (row === undefined) return null
    return {
      key: row.key,
      name: row.name,
      tookMs: row.took_ms,
      finishedAt: row.finished_at,
      output: JSON.parse(row.output),
    }
  }

  /** Ids of the runs that worked on any of these stages, and every stage that those runs worked on. */
  async lineage(
    keys: readonly string[],
  ): Promise<{ runs: string[]; stages: { name: string; key: string }[] }> {
    const runs = await this.#db
      .selectFrom('stage_events')
      .select('run')
      .distinct()
      .where('key', 'in', keys)
      .execute()
    const ids = runs.map(({ run }) => run)
    const stages = await this.#db
      .selectFrom('stage_events')
      .select(['name', 'key'])
      .distinct()
      .where('run', 'in', ids)
      .execute()
    return { runs: ids, stages }
  }

  /** Names of the tasks that stages have finished for, or verdicts are kept of. */
  async tasks(): Promise<string[]> {
    const rows = await this.#db
      .selectFrom('stages')
      .select('task')
      .union(this.#db.selectFrom('verdicts').select('task'))
      .execute()
    return rows.map(({ task }) => task)
  }

  /** All finished stages of that name. */
  async list(name: string): Promise<{ task: string; name: string; key: string; output: unknown }[]> {
    const rows = await this.#db
      .selectFrom('stages')
      .select(['task', 'name', 'key', 'output'])
      .where('name', '=', name)
      .execute()
    return rows.map(({ output, ...stage }) => ({ ...stage, output: JSON.parse(output) }))
  }

  async forget(key: string): Promise<void> {
    await this.#db.deleteFrom('stages').where('key', '=', key).execute()
  }

  async log(event: StageEvent): Promise<void> {
    await this.#db.insertInto('stage_events').values(event).execute()
  }

  /** The stage's row and its event in one transaction: finished is finished once. */
  async finish(
    stage: { key: string; task: string; name: string; tookMs: number; output: unknown },
    run: string,
  ): Promise<void> {
    const at = Date.now()
    await this.#db.transaction().execute(async (transaction) => {
      await transaction
        .insertInto('stages')
        .values({
          key: stage.key,
          task: stage.task,
          name: stage.name,
          finished_at: at,
          took_ms: stage.tookMs,
          output: JSON.stringify(stage.output),
        })
        .execute()
      await transaction
        .insertInto('stage_events')
        .values({ run, name: stage.name, key: stage.key, event: 'finished', at })
        .execute()
    })
  }

  /** The key of a run's stage of that name; null where the run has not come to it. */
  async keyInRun(run: string, name: string): Promise<string | null> {
    const row = await this.#db
      .selectFrom('stage_events')
      .select('key')
      .where('run', '=', run)
      .where('name', '=', name)
      .orderBy('id', 'desc')
      .limit(1)
      .executeTakeFirst()
    return row?.key ?? null
  }

  async events(): Promise<StageEvent[]> {
    return await this.#db
      .selectFrom('stage_events')
      .select(['run', 'name', 'key', 'event', 'at'])
      .orderBy('id')
      .execute()
  }

  /** The latest finished stage of that name, for estimates. */
  async latest(task: string, name: string): Promise<FinishedStage | null> {
    const row = await this.#db
      .selectFrom('stages')
      .select('key')
      .where('task', '=', task)
      .where('name', '=', name)
      .orderBy('finished_at', 'desc')
      .limit(1)
      .executeTakeFirst()
    return row === undefined ? null : await this.find(row.key)
  }
}
