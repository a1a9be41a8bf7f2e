/** Calls as rows of Parquet; conversations are JSON texts, as they have no fixed shape. */
import { fileWriter, parquetWriteRows } from 'hyparquet-writer'
import type { CapturedCall } from '../../contract/index.ts'

/** Rows that are in memory at once, and share a row group in the file. */
const rowsPerGroup = 500

const columns = [
  { name: 'id', type: 'STRING' },
  { name: 'task', type: 'STRING' },
  { name: 'session', type: 'STRING' },
  { name: 'label', type: 'STRING', nullable: true },
  { name: 'parent', type: 'STRING', nullable: true },
  { name: 'continues', type: 'STRING', nullable: true },
  { name: 'agent', type: 'STRING', nullable: true },
  { name: 'dialect', type: 'STRING' },
  { name: 'started_at', type: 'TIMESTAMP' },
  { name: 'total_ms', type: 'DOUBLE' },
  { name: 'first_byte_ms', type: 'DOUBLE', nullable: true },
  { name: 'status', type: 'STRING' },
  { name: 'http_status', type: 'INT32', nullable: true },
  { name: 'stream', type: 'BOOLEAN' },
  { name: 'model_asked', type: 'STRING' },
  { name: 'model_answered', type: 'STRING', nullable: true },
  { name: 'served_by', type: 'STRING' },
  { name: 'prompt_tokens', type: 'INT32', nullable: true },
  { name: 'completion_tokens', type: 'INT32', nullable: true },
  { name: 'finish_reason', type: 'STRING', nullable: true },
  { name: 'error', type: 'STRING', nullable: true },
  { name: 'messages', type: 'STRING' },
  { name: 'tools', type: 'STRING' },
  { name: 'replies', type: 'STRING' },
] as const

type Row = Record<(typeof columns)[number]['name'], string | number | boolean | Date | null>

/** @returns how many calls were written */
export async function writeParquet(path: string, calls: AsyncIterable<CapturedCall>): Promise<number> {
  let count = 0
  async function* rows(): AsyncGenerator<Row> {
    for await (const call of calls) {
      count++
      yield rowOf(call)
    }
  }
  await parquetWriteRows({
    writer: fileWriter(path),
    columns: [...columns],
    rows: rows(),
    rowGroupSize: rowsPerGroup,
    createdBy: 'shadow',
  })
  return count
}

function rowOf(call: CapturedCall): Row {
  return {
    id: call.id,
    task: call.task,
    session: call.session,
    label: call.label ?? null,
    parent: call.parent,
    continues: call.continues ?? null,
    agent: call.agent ?? null,
    dialect: call.dialect,
    started_at: new Date(call.startedAt),
    total_ms: call.timings.totalMs,
    first_byte_ms: call.timings.firstByteMs,
    status: call.status,
    http_status: call.httpStatus,
    stream: call.stream,
    model_asked: call.modelAsked,
    model_answered: call.modelAnswered,
    served_by: call.servedBy,
    prompt_tokens: call.usage?.prompt_tokens ?? null,
    completion_tokens: call.usage?.completion_tokens ?? null,
    finish_reason: call.replies[0]?.finishReason ?? null,
    error: call.error,
    messages: JSON.stringify(call.messages),
    tools: JSON.stringify(call.tools),
    replies: JSON.stringify(call.replies.map(({ message }) => message)),
  }
}
