/** Deletions as jobs, so that one that was killed between the two databases is gone on with. */
import type { Kysely } from 'kysely'
import { type CallSelection, callSelection } from '../../contract/deletion.ts'
import type { PipelineSchema } from './schema.ts'

export interface DeletionJob {
  readonly id: number
  readonly selection: CallSelection
  /** Whether model versions that were trained on it go too. */
  readonly isCascading: boolean
}

export class DeletionRepository {
  readonly #db: Kysely<PipelineSchema>

  constructor(db: Kysely<PipelineSchema>) {
    this.#db = db
  }

  async start(selection: CallSelection, isCascading: boolean): Promise<DeletionJob> {
    const { insertId } = await this.#db
      .insertInto('deletions')
      .values({
        selection: JSON.stringify(selection),
        is_cascading: isCascading ? 1 : 0,
        requested_at: Date.now(),
        finished_at: null,
      })
      .executeTakeFirstOrThrow()
    return { id: Number(insertId), selection, isCascading }
  }

  /** Whom it was about is forgotten with it. */
  async finish(id: number): Promise<void> {
    await this.#db
      .updateTable('deletions')
      .set({ selection: null, finished_at: Date.now() })
      .where('id', '=', id)
      .execute()
  }

  /** Oldest first. */
  async unfinished(): Promise<DeletionJob[]> {
    const rows = await this.#db
      .selectFrom('deletions')
      .select(['id', 'selection', 'is_cascading'])
      .where('finished_at', 'is', null)
      .orderBy('id')
      .execute()
    return rows.flatMap(({ id, selection, is_cascading: isCascading }) =>
      selection === null
        ? []
        : [{ id, selection: callSelection.parse(JSON.parse(selection)), isCascading: isCascading === 1 }],
    )
  }
}
