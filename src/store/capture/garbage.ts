/**
 * Removes what nothing refers to any more. A message that another conversation shares stays; so the tree is taken
 * down from its leaves, and only as far as nobody else stands on it.
 */
import type SqliteDatabase from 'better-sqlite3'

/**
 * Answer who refers to a row. They are made for a deletion and dropped after it: kept up all the time they would
 * cost every call ten more b-trees.
 */
export const reverseIndexes: Readonly<Record<string, string>> = {
  gc_raw_parent: 'raw_nodes (parent) WHERE parent IS NOT NULL',
  gc_raw_part: 'raw_nodes (part) WHERE part IS NOT NULL',
  gc_raw_node: 'raw_nodes (node)',
  gc_node_parent: 'nodes (parent) WHERE parent IS NOT NULL',
  gc_call_raw: 'calls (raw_node)',
  gc_call_node: 'calls (node)',
  gc_call_parent_node: 'calls (parent_node) WHERE parent_node IS NOT NULL',
  gc_call_envelope: 'calls (envelope)',
  gc_call_continues: 'calls (continues) WHERE continues IS NOT NULL',
  gc_reply_raw: 'call_replies (raw_node)',
  gc_reply_node: 'call_replies (node)',
  gc_envelope_part: 'envelope_parts (part)',
  gc_part_blob: 'part_blobs (blob)',
}

/** Rows that may have become garbage. */
export interface Suspects {
  readonly raw: Set<number>
  readonly nodes: Set<number>
  readonly parts: Set<number>
  readonly envelopes: Set<number>
  readonly sessions: Set<number>
  readonly scopes: Set<number>
}

export function noSuspects(): Suspects {
  return {
    raw: new Set(),
    nodes: new Set(),
    parts: new Set(),
    envelopes: new Set(),
    sessions: new Set(),
    scopes: new Set(),
  }
}

type Lookup<Row> = SqliteDatabase.Statement<[number], Row>
type UsedBy = SqliteDatabase.Statement<[{ id: number }], { used: 0 | 1 }>

export class GarbageCollector {
  private readonly raw: Lookup<{ parent: number | null; part: number | null; node: number }>
  private readonly node: Lookup<{ parent: number | null }>
  private readonly partsOfEnvelope: Lookup<{ part: number }>
  private readonly isUsed: Readonly<Record<keyof Suspects, UsedBy>>
  private readonly remove: Readonly<Record<keyof Suspects, SqliteDatabase.Statement<[number]>>>
  private readonly removeLinks: SqliteDatabase.Statement<[number]>
  private readonly blobsOfPart: Lookup<{ blob: number }>
  private readonly removeBlobLinks: SqliteDatabase.Statement<[number]>

  constructor(sqlite: SqliteDatabase.Database) {
    const usedBy = (...places: string[]): UsedBy =>
      sqlite.prepare(
        `SELECT ${places.map((place) => `EXISTS (SELECT 1 FROM ${place} = @id)`).join(' OR ')} AS used`,
      )
    const removal = (table: string, key = 'id') =>
      sqlite.prepare<[number]>(`DELETE FROM ${table} WHERE ${key} = ?`)
    this.raw = sqlite.prepare('SELECT parent, part, node FROM raw_nodes WHERE id = ?')
    this.node = sqlite.prepare('SELECT parent FROM nodes WHERE id = ?')
    this.partsOfEnvelope = sqlite.prepare('SELECT part FROM envelope_parts WHERE envelope = ?')
    this.isUsed = {
      raw: usedBy('raw_nodes WHERE parent', 'calls WHERE raw_node', 'call_replies WHERE raw_node'),
      nodes: usedBy(
        'nodes WHERE parent',
        'raw_nodes WHERE node',
        'calls WHERE node',
        'calls WHERE parent_node',
        'call_replies WHERE node',
      ),
      parts: usedBy('raw_nodes WHERE part', 'envelope_parts WHERE part', 'part_blobs WHERE blob'),
      envelopes: usedBy('calls WHERE envelope'),
      sessions: usedBy('calls WHERE session'),
      scopes: usedBy('calls WHERE scope', 'sessions WHERE scope'),
    }
    this.remove = {
      raw: removal('raw_nodes'),
      nodes: removal('nodes'),
      parts: removal('parts'),
      envelopes: removal('envelopes'),
      sessions: removal('sessions', 'seq'),
      scopes: removal('scopes'),
    }
    this.blobsOfPart = sqlite.prepare('SELECT blob FROM part_blobs WHERE part = ?')
    this.removeBlobLinks = sqlite.prepare('DELETE FROM part_blobs WHERE part = ?')
    this.removeLinks = sqlite.prepare('DELETE FROM envelope_parts WHERE envelope = ?')
  }

  /** Runs inside the caller's transaction. */
  collect(suspects: Suspects): void {
    for (const id of suspects.raw) this.takeDownRaw(id, suspects)
    for (const id of suspects.nodes) this.takeDownNode(id)
    for (const id of suspects.envelopes) {
      if (this.used('envelopes', id)) continue
      for (const { part } of this.partsOfEnvelope.all(id)) suspects.parts.add(part)
      this.removeLinks.run(id)
      this.remove.envelopes.run(id)
    }
    for (const id of suspects.parts) {
      if (this.used('parts', id)) continue
      // A set goes on to what is added to it on the way.
      for (const { blob } of this.blobsOfPart.all(id)) suspects.parts.add(blob)
      this.removeBlobLinks.run(id)
      this.remove.parts.run(id)
    }
    for (const kind of ['sessions', 'scopes'] as const) {
      for (const id of suspects[kind]) if (!this.used(kind, id)) this.remove[kind].run(id)
    }
  }

  private used(kind: keyof Suspects, id: number): boolean {
    return this.isUsed[kind].get({ id })?.used === 1
  }

  private takeDownRaw(from: number, suspects: Suspects): void {
    for (let id: number | null = from; id !== null; ) {
      const row = this.raw.get(id)
      if (row === undefined || this.used('raw', id)) return
      this.remove.raw.run(id)
      suspects.nodes.add(row.node)
      if (row.part !== null) suspects.parts.add(row.part)
      id = row.parent
    }
  }

  private takeDownNode(from: number): void {
    for (let id: number | null = from; id !== null; ) {
      const row = this.node.get(id)
      if (row === undefined || this.used('nodes', id)) return
      this.remove.nodes.run(id)
      id = row.parent
    }
  }
}
