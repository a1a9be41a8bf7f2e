/** Reads conversations back from the raw tree; each message is read and parsed once, however many calls share it. */
import type SqliteDatabase from 'better-sqlite3'
import type { ChatMessage, ToolDefinition } from '../../contract/index.ts'
import { ShadowError } from '../../lib/error.ts'
import { PartReader } from './blobs.ts'
import type { Step } from './session-tree.ts'

/** What the store needs to know of a dialect to give messages their meaning back. */
export interface MessageReader {
  readonly name: string
  /** At least one. */
  readMessages(bytes: Uint8Array): ChatMessage[]
  readTools(bytes: Uint8Array): ToolDefinition[]
}

interface RawNode {
  parent: number | null
  bytes: Buffer | null
  /** Hash of its canonical node. */
  canonical: Buffer
}

interface Conversation {
  messages: ChatMessage[]
  tools: ToolDefinition[]
}

export class MessageTree {
  private readonly select: (id: number) => RawNode | undefined
  private readonly readers: readonly MessageReader[]
  private readonly nodes = new Map<number, RawNode>()
  private readonly messages = new Map<number, ChatMessage[]>()
  private readonly tools = new Map<number, ToolDefinition[]>()

  constructor(sqlite: SqliteDatabase.Database, readers: readonly MessageReader[]) {
    const statement = sqlite.prepare<[number], RawNode & { holes: string | null }>(
      `SELECT raw_nodes.parent, bytes, holes, nodes.hash AS canonical FROM raw_nodes JOIN nodes ON nodes.id = raw_nodes.node
       LEFT JOIN parts ON parts.id = raw_nodes.part WHERE raw_nodes.id = ?`,
    )
    const parts = new PartReader(sqlite)
    this.select = (id) => {
      const row = statement.get(id)
      if (row === undefined || row.bytes === null || row.holes === null) return row
      return { ...row, bytes: parts.whole({ bytes: row.bytes, holes: row.holes }) }
    }
    this.readers = readers
  }

  /** The conversation that ends at a raw node. */
  conversation(id: number, dialect: string): Conversation {
    const reader = this.readerOf(dialect)
    const path = this.path(id)
    const root = path[0]
    return {
      messages: path.slice(1).flatMap((node) => this.messagesOf(node, reader)),
      tools: root === undefined ? [] : this.toolsOf(root, reader),
    }
  }

  /** The same as canonical nodes, the root first. */
  steps(id: number, dialect: string): Step[] {
    const reader = this.readerOf(dialect)
    return this.path(id).map((node, depth) => ({
      node: this.node(node).canonical,
      messages: depth === 0 ? [] : this.messagesOf(node, reader),
    }))
  }

  stepAt(id: number, dialect: string): Step {
    return { node: this.node(id).canonical, messages: this.messagesOf(id, this.readerOf(dialect)) }
  }

  messageAt(id: number, dialect: string): ChatMessage {
    const [message] = this.messagesOf(id, this.readerOf(dialect))
    if (message === undefined) throw new Error('A stored message reads as at least one.')
    return message
  }

  /** The tools' bytes (null where there are none) and each message's, as they came. */
  bytes(id: number): { tools: Uint8Array | null; messages: Uint8Array[] } {
    const [root, ...rest] = this.path(id).map((node) => this.node(node).bytes)
    return { tools: root ?? null, messages: rest.map((bytes) => bytes ?? Buffer.alloc(0)) }
  }

  private path(id: number): number[] {
    const path: number[] = []
    for (let at: number | null = id; at !== null; at = this.node(at).parent) path.push(at)
    return path.toReversed()
  }

  private node(id: number): RawNode {
    const known = this.nodes.get(id)
    if (known !== undefined) return known
    const found = this.select(id)
    if (found === undefined) {
      throw new ShadowError('store_failed', `The capture store lacks node ${id}.`, {
        hint: 'The file is damaged; restore it from a backup.',
      })
    }
    this.nodes.set(id, found)
    return found
  }

  private messagesOf(id: number, reader: MessageReader): ChatMessage[] {
    let messages = this.messages.get(id)
    if (messages === undefined) {
      messages = reader.readMessages(this.node(id).bytes ?? Buffer.alloc(0))
      this.messages.set(id, messages)
    }
    return messages
  }

  private toolsOf(id: number, reader: MessageReader): ToolDefinition[] {
    let tools = this.tools.get(id)
    if (tools === undefined) {
      const { bytes } = this.node(id)
      tools = bytes === null ? [] : reader.readTools(bytes)
      this.tools.set(id, tools)
    }
    return tools
  }

  private readerOf(dialect: string): MessageReader {
    const reader = this.readers.find(({ name }) => name === dialect)
    if (reader !== undefined) return reader
    throw new ShadowError(
      'store_failed',
      `A call was captured in the dialect "${dialect}", which is not known.`,
      {
        hint: 'Update Shadow.',
      },
    )
  }
}
