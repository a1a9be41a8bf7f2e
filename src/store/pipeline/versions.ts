import type { Kysely, Selectable } from 'kysely'
import { type ModelVersion, modelVersion } from '../../contract/run.ts'
import type { PipelineSchema } from './schema.ts'

export class VersionRepository {
  readonly #db: Kysely<PipelineSchema>

  constructor(db: Kysely<PipelineSchema>) {
    this.#db = db
  }

  /** Numbers the version; the same source gives the same version, however often it is asked for. */
  async add(sourceKey: string, version: Omit<ModelVersion, 'number' | 'createdAt'>): Promise<ModelVersion> {
    return await this.#db.transaction().execute(async (transaction) => {
      const existing = await transaction
        .selectFrom('model_versions')
        .selectAll()
        .where('source_key', '=', sourceKey)
        .executeTakeFirst()
      if (existing !== undefined) return toVersion(existing)
      const newest = await transaction
        .selectFrom('model_versions')
        .select('number')
        .where('task', '=', version.task)
        .orderBy('number', 'desc')
        .limit(1)
        .executeTakeFirst()
      const row = {
        task: version.task,
        number: (newest?.number ?? 0) + 1,
        source_key: sourceKey,
        base_model: version.baseModel,
        base_hash: version.baseHash,
        adapter_path: version.adapterPath,
        adapter_hash: version.adapterHash,
        serving_hash: version.servingHash,
        serve_policy: JSON.stringify(version.servePolicy),
        created_at: Date.now(),
        promoted: version.promoted ? 1 : 0,
        sentence: version.sentence,
        source_deleted_at: null,
        retired_at: null,
      }
      await transaction.insertInto('model_versions').values(row).execute()
      return toVersion(row)
    })
  }

  /** Newest first, without those that were retired; of every task when none is named. */
  async list(task: string | null): Promise<ModelVersion[]> {
    let query = this.#db
      .selectFrom('model_versions')
      .selectAll()
      .where('retired_at', 'is', null)
      .orderBy('created_at', 'desc')
    if (task !== null) query = query.where('task', '=', task)
    return (await query.orderBy('number', 'desc').execute()).map(toVersion)
  }

  async find(task: string, number: number): Promise<ModelVersion | null> {
    const row = await this.#db
      .selectFrom('model_versions')
      .selectAll()
      .where('task', '=', task)
      .where('number', '=', number)
      .where('retired_at', 'is', null)
      .executeTakeFirst()
    return row === undefined ? null : toVersion(row)
  }

  /** Notes that calls which a version was trained on were deleted; whether that is news. */
  async sourceDeleted(task: string, number: number): Promise<boolean> {
    const { numUpdatedRows } = await this.#db
      .updateTable('model_versions')
      .set({ source_deleted_at: Date.now() })
      .where('task', '=', task)
      .where('number', '=', number)
      .where('source_deleted_at', 'is', null)
      .executeTakeFirst()
    return numUpdatedRows > 0n
  }

  /** From now on there is no such version; its number isn't given out again. */
  async retire(task: string, number: number): Promise<void> {
    await this.#db
      .updateTable('model_versions')
      .set({ retired_at: Date.now() })
      .where('task', '=', task)
      .where('number', '=', number)
      .execute()
  }
}

function toVersion(row: Selectable<PipelineSchema['model_versions']>): ModelVersion {
  return modelVersion.parse({
    task: row.task,
    number: row.number,
    baseModel: row.base_model,
    baseHash: row.base_hash,
    adapterPath: row.adapter_path,
    adapterHash: row.adapter_hash,
    servingHash: row.serving_hash,
    servePolicy: JSON.parse(row.serve_policy),
    createdAt: row.created_at,
    promoted: row.promoted === 1,
    sentence: row.sentence,
  })
}
