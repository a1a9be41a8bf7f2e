import type { Kysely } from 'kysely'
import { type Task, type TaskConfig, taskConfig, taskName } from '../../contract/task.ts'
import { ShadowError } from '../../lib/error.ts'
import type { PipelineSchema } from './schema.ts'

export class TaskRepository {
  readonly #db: Kysely<PipelineSchema>

  constructor(db: Kysely<PipelineSchema>) {
    this.#db = db
  }

  async list(): Promise<Task[]> {
    const rows = await this.#db.selectFrom('tasks').selectAll().orderBy('name').execute()
    return rows.map((row) => ({
      name: row.name,
      createdAt: row.created_at,
      config: taskConfig.parse(JSON.parse(row.config)),
    }))
  }

  async find(name: string): Promise<Task | null> {
    const row = await this.#db.selectFrom('tasks').selectAll().where('name', '=', name).executeTakeFirst()
    if (row === undefined) return null
    return { name: row.name, createdAt: row.created_at, config: taskConfig.parse(JSON.parse(row.config)) }
  }

  /** @throws ShadowError invalid_config when the name is none */
  async save(name: string, config: TaskConfig): Promise<void> {
    const checked = taskName.safeParse(name)
    if (!checked.success) {
      throw new ShadowError('invalid_config', `"${name}" is no task name.`, {
        hint: 'Use 1 to 64 of a-z, 0-9, ".", "_" and "-", starting with a letter or digit.',
      })
    }
    await this.#db
      .insertInto('tasks')
      .values({ name, created_at: Date.now(), config: JSON.stringify(config) })
      .onConflict((conflict) => conflict.column('name').doUpdateSet({ config: JSON.stringify(config) }))
      .execute()
  }
}
