import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import * as buffers from 'node:stream/consumers'
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { taskConfig } from '../../src/contract/index.ts'
import { type CallExport, exportCalls } from '../../src/ops/transfer/export-calls.ts'
import { importCalls } from '../../src/ops/transfer/import-calls.ts'
import type { Workspace } from '../../src/ops/workspace.ts'
import { dialects } from '../../src/dialects/index.ts'
import { checkCapture } from '../../src/store/capture/index.ts'
import { filesWith } from '../support/grep-home.ts'
import { testHome } from '../support/home.ts'
import { recordCall, startStore, temporaryHome } from '../support/store.ts'
import { startTraffic } from '../support/task-traffic.ts'
import { workspaceAt } from '../support/workspace.ts'

const user = (content: string) => ({ role: 'user', content })
const said = (content: string) => ({ role: 'assistant', content })
const tools = [
  { type: 'function', function: { name: 'find', description: 'finds', parameters: { type: 'object' } } },
]
const call = { id: 'call_1', type: 'function', function: { name: 'find', arguments: '{"seat": 1.0}' } }

/** A home with everything that a call can have. */
async function filledHome() {
  const set = await startStore()
  const { store } = set
  const system = { role: 'system', content: 'Be brief.' }
  const first = [system, user('Where?')]
  const asking = { role: 'assistant', content: null, tool_calls: [call], refusal: null }
  const about = { session: 'run-1', tools, task: 'flights', at: 1_700_000_000_000 }
  await recordCall(store, { messages: first, replies: [said('Oslo.'), asking], ...about })
  const result = { role: 'tool', tool_call_id: 'other', content: [{ type: 'text', text: 'Seat 1.' }] }
  const next = [...first, { ...asking, tool_calls: [{ ...call, id: 'other' }] }, result]
  await recordCall(store, {
    messages: next,
    replies: [said('Seat 1 it is.')],
    ...about,
    at: 1_700_000_100_000,
  })
  const long = said(`The whole story ${'again '.repeat(20)}`)
  await recordCall(store, {
    messages: [user('Sum up.')],
    replies: [long],
    session: 'run-2',
    agent: 'a',
    parentAgent: 'b',
  })
  await recordCall(store, {
    messages: [user('[elided]'), long, user('On.')],
    replies: [said('So.')],
    session: 'run-2',
    agent: 'a',
  })
  await recordCall(store, { messages: [user('Nothing?')], replies: [], status: 'aborted' })
  await recordCall(store, {
    messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:x' } }] }],
    replies: [said('A cat.')],
  })
  for (let index = 0; index < 230; index++) {
    await recordCall(store, { messages: [user(`many ${index}`)], replies: [said(`${index}`)], task: 'many' })
  }
  await store.close()
  return set
}

async function exported(
  workspace: Workspace,
  format: CallExport['format'],
  filter: CallExport['filter'] = {},
) {
  const out = new PassThrough()
  const text = buffers.text(out)
  await exportCalls(workspace, { format, path: null, out, filter })
  out.end()
  return await text
}

const jsonLines = (text: string): unknown[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))

test('what is exported as JSONL and imported into an empty home is exported again the same', async () => {
  await using filled = await filledHome()
  await using from = await workspaceAt(filled.home)
  const file = join(filled.home, 'calls.jsonl')
  expect(await exportCalls(from, { format: 'jsonl', path: file, out: process.stdout, filter: {} })).toBe(236)
  const text = await readFile(file, 'utf8')
  expect(jsonLines(text)[1]).toMatchObject({
    messages: [
      { role: 'system' },
      { role: 'user' },
      { role: 'assistant' },
      { role: 'tool' },
      said('Seat 1 it is.'),
    ],
    tools,
    shadow: { task: 'flights', label: 'run-1', replies: [{ finishReason: 'stop' }] },
  })
  await using empty = await temporaryHome()
  await using to = await workspaceAt(empty.home)
  expect(await importCalls(to, file)).toEqual({ added: 236, known: 0 })
  expect(await importCalls(to, file)).toEqual({ added: 0, known: 236 })
  expect(await exported(to, 'jsonl')).toBe(text)
  expect(checkCapture(empty.home, dialects).flatMap(({ damage }) => damage)).toEqual([])
})

test('filters, ShareGPT and spans', async () => {
  await using filled = await filledHome()
  await using workspace = await workspaceAt(filled.home)
  const lines = async (format: CallExport['format'], filter: CallExport['filter']) =>
    jsonLines(await exported(workspace, format, filter))
  expect(await lines('jsonl', { task: 'many' })).toHaveLength(230)
  expect(await lines('jsonl', { status: 'aborted' })).toHaveLength(1)
  expect(await lines('jsonl', { since: 1_700_000_050_000, task: 'flights' })).toHaveLength(1)
  const chats = await lines('sharegpt', { session: 'run-1' })
  expect(chats).toEqual([
    {
      id: expect.any(String),
      system: 'Be brief.',
      tools: JSON.stringify([tools[0]?.function]),
      conversations: [
        { from: 'human', value: 'Where?' },
        { from: 'gpt', value: 'Oslo.' },
      ],
    },
    {
      id: expect.any(String),
      system: 'Be brief.',
      tools: expect.any(String),
      conversations: [
        { from: 'human', value: 'Where?' },
        { from: 'function_call', value: '{"name":"find","arguments":{"seat":1}}' },
        { from: 'observation', value: 'Seat 1.' },
        { from: 'gpt', value: 'Seat 1 it is.' },
      ],
    },
  ])
  const spans = z
    .array(
      z.object({
        resourceSpans: z.array(
          z.object({
            scopeSpans: z.array(
              z.object({
                spans: z.array(z.looseObject({ attributes: z.array(z.looseObject({ key: z.string() })) })),
              }),
            ),
          }),
        ),
      }),
    )
    .parse(await lines('otel', { session: 'run-1' }))
    .flatMap(({ resourceSpans }) => resourceSpans[0]?.scopeSpans[0]?.spans ?? [])
  const [first, second] = spans
  expect(second).toMatchObject({
    name: 'chat m',
    kind: 3,
    traceId: first?.['traceId'],
    links: [{ traceId: first?.['traceId'], spanId: first?.['spanId'] }],
    startTimeUnixNano: '1700000100000000000',
    endTimeUnixNano: '1700000100002000000',
    status: { code: 1 },
  })
  const output = first?.attributes.find(({ key }) => key === 'gen_ai.output.messages')
  expect(output).toMatchObject({ value: { stringValue: expect.stringContaining('"type":"tool_call"') } })
  expect(first?.attributes.map(({ key }) => key)).toContain('gen_ai.system_instructions')
})

test('Parquet holds a row a call', async () => {
  await using filled = await filledHome()
  await using workspace = await workspaceAt(filled.home)
  const path = join(filled.home, 'calls.parquet')
  await expect(exported(workspace, 'parquet')).rejects.toMatchObject({
    hint: expect.stringContaining('--out'),
  })
  await exportCalls(workspace, { format: 'parquet', path, out: process.stdout, filter: {} })
  const rows = await parquetReadObjects({ file: await asyncBufferFromFile(path) })
  expect(rows).toHaveLength(236)
  expect(rows[1]).toMatchObject({
    task: 'flights',
    label: 'run-1',
    status: 'complete',
    finish_reason: 'stop',
    started_at: new Date(1_700_000_100_000),
    prompt_tokens: null,
  })
  expect(JSON.parse(String(rows[1]?.['replies']))).toEqual([said('Seat 1 it is.')])
})

test('other tools’ lines go in through the running server, redacted as the task says, and wrong ones are named', async () => {
  await using home = await testHome()
  await using stack = new AsyncDisposableStack()
  await startTraffic(home, stack)
  await using workspace = await workspaceAt(home.path)
  await workspace.pipeline.tasks.save('tuned', taskConfig.parse({ redaction: { kinds: ['email'] } }))
  const file = join(home.path, 'outside.jsonl')
  const line = { messages: [user('Who?'), said('ann@example.org')] }
  await writeFile(file, `${JSON.stringify(line)}\n\n${JSON.stringify(line)}\n`)
  const { stdout } = await home.shadow(['calls', 'import', file, '--task', 'tuned'])
  expect(stdout).toBe('1 calls imported; 1 were there already.\n')
  expect(await importCalls(workspace, file, 'tuned')).toEqual({ added: 0, known: 2 })
  const calls = jsonLines(await exported(workspace, 'jsonl', { task: 'tuned' }))
  expect(calls).toMatchObject([{ shadow: { redacted: { email: 1 } }, messages: [user('Who?'), {}] }])
  expect(await filesWith(home.path, 'ann@example.org')).toEqual(['outside.jsonl'])
  await writeFile(file, `${JSON.stringify(line)}\n{"messages":[{"role":"user","content":"x"}]}\n`)
  await expect(importCalls(workspace, file, 'tuned')).rejects.toMatchObject({
    code: 'invalid_file',
    message: expect.stringMatching(
      /line 2 of .*outside\.jsonl is no call: its last message is not the assistant’s/,
    ),
  })
})
