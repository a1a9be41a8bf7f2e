import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { banking77Chats } from '../../examples/replay/banking77.ts'
import { type Chat, readChats } from '../../examples/replay/chats.ts'
import { parseCsv } from '../../examples/replay/csv.ts'
import { textOf } from '../../src/contract/index.ts'
import { startGoldServer } from '../../examples/replay/gold-server.ts'
import { replay } from '../../examples/replay/replay.ts'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'replay-'))
})

afterAll(() => rm(folder, { recursive: true }))

async function chatsOf(lines: readonly unknown[]): Promise<Chat[]> {
  const file = join(folder, 'chats.jsonl')
  await writeFile(
    file,
    lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'),
  )
  return await Array.fromAsync(readChats(file))
}

const hello = [
  { role: 'user', content: 'Hello' },
  { role: 'assistant', content: 'Hi there' },
]

describe('a file of chats', () => {
  it('is read as prompts and their right answers', async () => {
    const chats = await chatsOf([
      { messages: [...hello, { role: 'user', content: 'Bye' }, { role: 'assistant', content: 'See you' }] },
      '',
      { messages: [...hello, { role: 'user', content: 'left hanging' }], split: 'test' },
    ])
    expect(chats.map(({ line, part, gold }) => ({ line, part, gold }))).toEqual([
      { line: 1, part: null, gold: 'See you' },
      { line: 3, part: 'test', gold: 'Hi there' },
    ])
    expect(chats[0]?.prompt).toHaveLength(3)
    expect(chats[1]?.prompt).toEqual([hello[0]])
  })

  it.each([
    ['{"messages": [', /line 2 is no JSON/],
    ['{"messages": []}', /line 2/],
    [JSON.stringify({ messages: [hello[0], hello[0]] }), /line 2 has no assistant message/],
    [JSON.stringify({ messages: [hello[1], hello[0]] }), /line 2 has no assistant message/],
  ])('that is broken names the line: %s', async (line, words) => {
    await expect(chatsOf([{ messages: hello }, line])).rejects.toThrow(words)
  })
})

describe('a replay', () => {
  it('gets the gold answers, in parts that do not overtake each other', async () => {
    const chats = await chatsOf(
      ['train', 'test'].flatMap((split) =>
        Array.from({ length: 30 }, (_, index) => ({
          split,
          messages: [
            { role: 'system', content: 'Repeat.' },
            { role: 'user', content: [{ type: 'text', text: `${split} ${index}` }] },
            { role: 'assistant', content: `gold ${split} ${index}` },
          ],
        })),
      ),
    )
    const gold = await startGoldServer(chats, 0)
    const sent: string[] = []
    const client = new OpenAI({
      baseURL: gold.url,
      apiKey: 'any',
      fetch: (url, init) => {
        sent.push(new Headers(init?.headers).get('x-session-id') ?? '')
        return fetch(url, init)
      },
    })
    const result = await replay(chats, { client, model: 'any', concurrency: 4, sessionPrefix: 's' })
    await gold.close()
    expect(result).toEqual({ calls: 60, exact: 60, servedBy: new Map([['-', 60]]) })
    expect(sent).toEqual(chats.map(({ line }) => `s-${line}`))
  })

  it('stops at a conversation that nobody has the answer to', async () => {
    const [known] = await chatsOf([{ messages: hello }])
    if (known === undefined) throw new Error('no chat')
    const gold = await startGoldServer([known], 0)
    const client = new OpenAI({ baseURL: gold.url, apiKey: 'any', maxRetries: 0 })
    const stranger = { ...known, prompt: [{ role: 'user' as const, content: 'Something else' }] }
    await expect(
      replay([stranger], { client, model: 'any', concurrency: 1, sessionPrefix: 's' }),
    ).rejects.toThrow(/not in the file/)
    await gold.close()
  })
})

describe('CSV', () => {
  it('may quote commas, quotes and line ends', () => {
    expect(parseCsv('text,category\r\n"a, ""b""\nc",x\nplain,\n')).toEqual([
      ['text', 'category'],
      ['a, "b"\nc', 'x'],
      ['plain', ''],
    ])
    expect(() => parseCsv('a"b,c')).toThrow(/stray quote/)
  })
})

/** The data set where it is at hand; otherwise a small one of the same make, sorted by intent as the real one is. */
async function dataFolder(): Promise<string> {
  const real = fileURLToPath(new URL('../../../shared/data/banking77', import.meta.url))
  if (existsSync(real)) return real
  const intents = Array.from({ length: 20 }, (_, index) => `intent_${index}`)
  const csv = (what: string, each: number) =>
    ['text,category']
      .concat(
        intents.flatMap((intent) =>
          Array.from({ length: each }, (_, n) => `"${what} ${n}, about ""${intent}""",${intent}`),
        ),
      )
      .join('\n')
  await writeFile(join(folder, 'train.csv'), csv('train', 20))
  await writeFile(join(folder, 'test.csv'), csv('test', 5))
  return folder
}

describe('Banking77', () => {
  it('comes out shuffled by seed, the test utterances last, no label in the instruction', async () => {
    const data = await dataFolder()
    const options = { data, train: 200, test: 50, seed: 1 }
    const lines = await banking77Chats(options)
    expect(await banking77Chats(options)).toEqual(lines)
    expect(await banking77Chats({ ...options, seed: 2 })).not.toEqual(lines)
    const chats = await chatsOf(lines.map((line) => JSON.parse(line)))
    expect(chats.map(({ part }) => part)).toEqual([
      ...Array.from({ length: 200 }, () => 'train'),
      ...Array.from({ length: 50 }, () => 'test'),
    ])
    expect(new Set(chats.slice(0, 40).map(({ gold }) => gold)).size).toBeGreaterThan(10)
    const labels = new Set(chats.map(({ gold }) => gold))
    for (const { prompt } of chats) {
      const instruction = textOf(prompt[0] ?? {})
      expect(instruction.split(' ').length).toBeLessThanOrEqual(20)
      for (const label of labels) expect(instruction).not.toContain(label)
    }
  })

  it('says where the files have to be', async () => {
    await expect(banking77Chats({ data: join(folder, 'none'), train: 1, test: 1, seed: 1 })).rejects.toThrow(
      /train\.csv can't be read/,
    )
  })
})
