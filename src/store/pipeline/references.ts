/** Right answers, imported. Looked up by the whole conversation first, then by its last user message. */
import { createHash } from 'node:crypto'
import type { Kysely } from 'kysely'
import { type ChatMessage, chatMessage, lastUserText, textOf } from '../../contract/message.ts'
import type { Reference } from '../../contract/task.ts'
import { ShadowError } from '../../lib/error.ts'
import type { PipelineSchema } from './schema.ts'

/** Equal for conversations that say the same: role, text and tool calls count, call ids and layout don't. */
export function conversationKey(messages: readonly ChatMessage[]): string {
  const said = messages.map((message) => [
    message.role,
    textOf(message),
    (message.tool_calls ?? []).map((call) => [call.function.name, call.function.arguments]),
  ])
  return createHash('sha256').update(JSON.stringify(said)).digest('hex')
}

export class ReferenceRepository {
  readonly #db: Kysely<PipelineSchema>

  constructor(db: Kysely<PipelineSchema>) {
    this.#db = db
  }

  /** Adds or replaces; all or nothing. */
  async import(task: string, references: readonly Reference[]): Promise<void> {
    await this.#db.transaction().execute(async (transaction) => {
      for (const reference of references) {
        await transaction
          .insertInto('task_references')
          .values({ task, ...matchOf(reference), answer: reference.answer })
          .onConflict((conflict) =>
            conflict.columns(['task', 'kind', 'match']).doUpdateSet({ answer: reference.answer }),
          )
          .execute()
      }
    })
  }

  async count(task: string): Promise<number> {
    const row = await this.#db
      .selectFrom('task_references')
      .select((select) => select.fn.countAll<number>().as('count'))
      .where('task', '=', task)
      .executeTakeFirstOrThrow()
    return row.count
  }

  /** Everything at once, as a look-up that answers for a conversation. */
  async lookup(task: string): Promise<(messages: readonly ChatMessage[]) => string | null> {
    const rows = await this.#db.selectFrom('task_references').selectAll().where('task', '=', task).execute()
    const byInput = new Map<string, string>()
    const byMessages = new Map<string, string>()
    for (const row of rows) (row.kind === 'input' ? byInput : byMessages).set(row.match, row.answer)
    return (messages) =>
      byMessages.get(conversationKey(messages)) ?? byInput.get(lastUserText(messages)) ?? null
  }
}

function matchOf(reference: Reference): { kind: 'input' | 'messages'; match: string } {
  if ('input' in reference) return { kind: 'input', match: reference.input }
  const messages = reference.messages.map((message) => {
    const parsed = chatMessage.safeParse(message)
    if (parsed.success) return parsed.data
    throw new ShadowError('invalid_file', 'A reference holds a message that is no chat message.', {
      hint: 'Each message needs a role (system, user, assistant, tool) and content.',
      cause: parsed.error,
    })
  })
  return { kind: 'messages', match: conversationKey(messages) }
}
