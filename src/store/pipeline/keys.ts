/** Keys to the proxy: only their hashes are kept, so that a key can be shown once and never again. */
import { createHash, randomBytes } from 'node:crypto'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { PipelineSchema } from './schema.ts'

export interface ProxyKey {
  readonly id: string
  readonly name: string
  /** Null for all tasks. */
  readonly tasks: readonly string[] | null
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  readonly revokedAt: number | null
}

const taskList = z.array(z.string())

export class KeyRepository {
  readonly #db: Kysely<PipelineSchema>

  constructor(db: Kysely<PipelineSchema>) {
    this.#db = db
  }

  /** A new key with 192 random bits behind `prefix`; `secret` is in no file. */
  async create(
    prefix: string,
    name: string,
    tasks: readonly string[] | null,
  ): Promise<{ key: ProxyKey; secret: string }> {
    const secret = `${prefix}${randomBytes(24).toString('base64url')}`
    const key = { id: randomBytes(6).toString('hex'), name, tasks, createdAt: Date.now(), revokedAt: null }
    await this.#db
      .insertInto('proxy_keys')
      .values({
        id: key.id,
        name,
        hash: hashOf(secret),
        tasks: tasks === null ? null : JSON.stringify(tasks),
        created_at: key.createdAt,
        revoked_at: null,
      })
      .execute()
    return { key, secret }
  }

  /** Oldest first, revoked ones too. */
  async list(): Promise<ProxyKey[]> {
    return (await this.#rows()).map(({ key }) => key)
  }

  /** The keys that are good now, by the hash of their secret. */
  async usable(): Promise<Map<string, ProxyKey>> {
    const rows = await this.#rows()
    return new Map(rows.filter(({ key }) => key.revokedAt === null).map(({ hash, key }) => [hash, key]))
  }

  /** By id or name; whether there was one to revoke. */
  async revoke(idOrName: string): Promise<boolean> {
    const { numUpdatedRows } = await this.#db
      .updateTable('proxy_keys')
      .set({ revoked_at: Date.now() })
      .where((is) => is.or([is('id', '=', idOrName), is('name', '=', idOrName)]))
      .where('revoked_at', 'is', null)
      .executeTakeFirst()
    return numUpdatedRows > 0n
  }

  async #rows(): Promise<{ hash: string; key: ProxyKey }[]> {
    const rows = await this.#db.selectFrom('proxy_keys').selectAll().orderBy('created_at').execute()
    return rows.map((row) => ({
      hash: row.hash,
      key: {
        id: row.id,
        name: row.name,
        tasks: row.tasks === null ? null : taskList.parse(JSON.parse(row.tasks)),
        createdAt: row.created_at,
        revokedAt: row.revoked_at,
      },
    }))
  }
}

/** A key is random enough to need no salt and no slow hash. */
export function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}
