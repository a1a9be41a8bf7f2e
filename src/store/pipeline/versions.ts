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
      }
      await transaction.insertInto('model_versions').values(row).execute()
      return toVersion(row)
    })
  }

  /** Newest first; of every task when none is named. */
  async list(task: string | null): Promise<ModelVersion[]> {
    let query = this.#db.selectFrom('model_versions').selectAll().orderBy('created_at', 'desc')
    if (task !== null) query = query.where('task', '=', task)
    return (await query.orderBy('number', 'desc').execute()).map(toVersion)
  }

  async find(task: string, number: number): Promise<ModelVersion | null> {
    const row = await this.#db
      .selectFrom('model_versions')
      .selectAll()
      .where('task', '=', task)
      .where('number', '=', number)
      .executeTakeFirst()
    return row === undefined ? null : toVersion(row)
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
