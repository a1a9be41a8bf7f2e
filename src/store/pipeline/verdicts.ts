import type { Kysely } from 'kysely'
import { type Verdict, verdict } from '../../contract/verdict.ts'
import type { PipelineSchema } from './schema.ts'

/** Verdicts by the hash of what they were made from, so that a repeat costs nothing. */
export class VerdictRepository {
  readonly #db: Kysely<PipelineSchema>

  constructor(db: Kysely<PipelineSchema>) {
    this.#db = db
  }

  async get(id: string): Promise<Verdict | null> {
    const row = await this.#db
      .selectFrom('verdicts')
      .select('verdict')
      .where('id', '=', id)
      .executeTakeFirst()
    return row === undefined ? null : verdict.parse(JSON.parse(row.verdict))
  }

  async put(value: Verdict): Promise<void> {
    await this.#db
      .insertInto('verdicts')
      .values({ id: value.id, task: value.task, verdict: JSON.stringify(value) })
      .onConflict((conflict) => conflict.column('id').doNothing())
      .execute()
  }

  async list(task: string): Promise<Verdict[]> {
    const rows = await this.#db.selectFrom('verdicts').select('verdict').where('task', '=', task).execute()
    return rows.map((row) => verdict.parse(JSON.parse(row.verdict)))
  }

  async remove(ids: readonly string[]): Promise<void> {
    for (const id of ids) await this.#db.deleteFrom('verdicts').where('id', '=', id).execute()
  }
}
