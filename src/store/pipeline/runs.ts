import type { Kysely, Selectable } from 'kysely'
import { type RunRecord, runRecord } from '../../contract/run.ts'
import type { PipelineSchema } from './schema.ts'

export class RunRepository {
  readonly #db: Kysely<PipelineSchema>

  constructor(db: Kysely<PipelineSchema>) {
    this.#db = db
  }

  async start(run: { id: string; task: string; stage: string; pid: number }): Promise<void> {
    await this.#db
      .insertInto('runs')
      .values({
        ...run,
        state: 'running',
        started_at: Date.now(),
        finished_at: null,
        error: null,
        version: null,
        report_path: null,
      })
      .execute()
  }

  async update(
    id: string,
    change: Partial<Pick<RunRecord, 'state' | 'stage' | 'error' | 'version' | 'reportPath' | 'finishedAt'>>,
  ): Promise<void> {
    const { reportPath, finishedAt, ...same } = change
    await this.#db
      .updateTable('runs')
      .set({
        ...same,
        ...(reportPath === undefined ? {} : { report_path: reportPath }),
        ...(finishedAt === undefined ? {} : { finished_at: finishedAt }),
      })
      .where('id', '=', id)
      .execute()
  }

  async find(id: string): Promise<RunRecord | null> {
    const row = await this.#db.selectFrom('runs').selectAll().where('id', '=', id).executeTakeFirst()
    return row === undefined ? null : toRecord(row)
  }

  /** Forgets the run; what its stages made stays, for other runs may stand on it. @returns whether there was one */
  async delete(id: string): Promise<boolean> {
    const { numDeletedRows } = await this.#db.deleteFrom('runs').where('id', '=', id).executeTakeFirst()
    return numDeletedRows > 0n
  }

  /** Newest first. */
  async list(task: string | null, limit: number): Promise<RunRecord[]> {
    let query = this.#db.selectFrom('runs').selectAll().orderBy('id', 'desc').limit(limit)
    if (task !== null) query = query.where('task', '=', task)
    return (await query.execute()).map(toRecord)
  }

  /** Runs that say they are running. */
  async running(task: string): Promise<{ id: string }[]> {
    return await this.#db
      .selectFrom('runs')
      .select('id')
      .where('task', '=', task)
      .where('state', '=', 'running')
      .execute()
  }
}

function toRecord(row: Selectable<PipelineSchema['runs']>): RunRecord {
  return runRecord.parse({
    id: row.id,
    task: row.task,
    state: row.state,
    stage: row.stage,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    error: row.error,
    version: row.version,
    reportPath: row.report_path,
  })
}
