import type { Kysely } from 'kysely'
import { type StoreConfig, storeConfig } from '../../contract/store-config.ts'
import type { PipelineSchema } from './schema.ts'

const storeSetting = 'store'

/** What is decided about the whole home, rather than about a task. */
export class SettingRepository {
  readonly #db: Kysely<PipelineSchema>

  constructor(db: Kysely<PipelineSchema>) {
    this.#db = db
  }

  async store(): Promise<StoreConfig> {
    const row = await this.#db
      .selectFrom('settings')
      .select('value')
      .where('name', '=', storeSetting)
      .executeTakeFirst()
    return storeConfig.parse(row === undefined ? {} : JSON.parse(row.value))
  }

  async saveStore(config: StoreConfig): Promise<void> {
    const value = JSON.stringify(config)
    await this.#db
      .insertInto('settings')
      .values({ name: storeSetting, value })
      .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }))
      .execute()
  }
}
