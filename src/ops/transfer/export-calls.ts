/** `shadow calls export`: captured calls for other tools, read and written piece by piece. */
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import type { Writable } from 'node:stream'
import type { CapturedCall, Trajectory } from '../../contract/index.ts'
import { ShadowError } from '../../lib/error.ts'
import { type CallFilter, type CaptureReader, trajectoriesOf } from '../../store/capture/index.ts'
import { openCaptured, requireTask, type Workspace } from '../workspace.ts'
import { lineOf } from './call-line.ts'
import { spanLine } from './otel.ts'
import { writeParquet } from './parquet.ts'
import { conversationLine } from './sharegpt.ts'

/** One line a call, but for ShareGPT, where it is one a trajectory. */
export const callFormats = ['jsonl', 'sharegpt', 'parquet', 'otel'] as const
export type CallFormat = (typeof callFormats)[number]

export interface CallExport {
  format: CallFormat
  /** A file, which is created or replaced; null writes to `out`. Parquet needs one. */
  path: string | null
  out: Writable
  filter: Pick<CallFilter, 'task' | 'session' | 'status' | 'since'>
}

/** @returns how many calls, or trajectories, were written. @throws ShadowError unknown_task | not_found | invalid_config */
export async function exportCalls(
  workspace: Workspace,
  { format, path, out, filter }: CallExport,
): Promise<number> {
  await using captured = await openCaptured(workspace)
  if (filter.task !== undefined) await requireTask(workspace, captured, filter.task)
  const { reader } = captured
  if (reader === null) return 0
  const known = filter.session === undefined ? {} : { session: (await reader.findSession(filter.session)).id }
  const calls = reader.conversations({ ...filter, ...known })
  if (format === 'parquet') {
    if (path !== null) return await writeParquet(path, calls)
    throw new ShadowError('invalid_config', 'Parquet is written to a file.', { hint: 'Name it with --out.' })
  }
  const lines =
    format === 'sharegpt' ? conversationLines(reader, { ...filter, ...known }) : callLines(calls, format)
  if (path === null) return await writeLines(lines, out)
  const file = createWriteStream(path, { mode: 0o600 })
  const count = await writeLines(lines, file)
  file.end()
  await once(file, 'finish')
  return count
}

async function* callLines(
  calls: AsyncIterable<CapturedCall>,
  format: 'jsonl' | 'otel',
): AsyncGenerator<string> {
  for await (const call of calls) yield format === 'otel' ? spanLine(call) : JSON.stringify(lineOf(call))
}

/** A session is in memory at a time. */
async function* conversationLines(
  reader: CaptureReader,
  filter: CallExport['filter'],
): AsyncGenerator<string> {
  for await (const session of reader.sessionIds(filter)) {
    const calls: CapturedCall[] = []
    for await (const call of reader.conversations({ ...filter, session })) calls.push(call)
    const trajectories: Trajectory[] = trajectoriesOf(calls)
    for (const trajectory of trajectories) yield conversationLine(trajectory)
  }
}

async function writeLines(lines: AsyncIterable<string>, out: Writable): Promise<number> {
  let count = 0
  for await (const line of lines) {
    count++
    if (!out.write(`${line}\n`)) await once(out, 'drain')
  }
  return count
}
