/**
 * Makes a file of chats out of Banking77 (77 intents of bank customers, CC BY 4.0):
 * `npm run replay:banking77 -- --data DIR --out banking77.jsonl [--train 2000] [--test 500] [--seed 1]`
 *
 * Both of its files are sorted by intent, so both are shuffled by seed. The test utterances come last: replayed
 * in order they are the newest fifth, which is what Shadow holds out.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { messageOf, ShadowError } from '../../src/lib/error.ts'
import { hash32, mulberry32, shuffled } from '../support-desk/random.ts'
import { parseCsv } from './csv.ts'

/** Names no label: the model has to learn them from the traffic. */
const instruction = 'Name the banking intent of the message.'

export interface Banking77Options {
  /** Folder with train.csv and test.csv. */
  readonly data: string
  readonly train: number
  readonly test: number
  readonly seed: number
}

/** @returns lines of JSON. @throws ShadowError invalid_file */
export async function banking77Chats({ data, train, test, seed }: Banking77Options): Promise<string[]> {
  const lines: string[] = []
  for (const [split, count] of [
    ['train', train],
    ['test', test],
  ] as const) {
    const rows = await readRows(join(data, `${split}.csv`))
    const random = mulberry32(hash32('banking77', split, seed))
    for (const { text, category } of shuffled(random, rows).slice(0, count)) {
      const messages = [
        { role: 'system', content: instruction },
        { role: 'user', content: text },
        { role: 'assistant', content: category },
      ]
      lines.push(JSON.stringify({ messages, split }))
    }
  }
  return lines
}

async function readRows(file: string): Promise<{ text: string; category: string }[]> {
  let content: string
  try {
    content = await readFile(file, 'utf8')
  } catch (cause) {
    throw new ShadowError('invalid_file', `${file} can't be read: ${messageOf(cause)}.`, {
      hint: 'Give the folder that holds train.csv and test.csv with --data.',
      cause,
    })
  }
  const [head, ...rows] = parseCsv(content)
  if (head?.join(',') !== 'text,category') {
    throw new ShadowError('invalid_file', `${file} does not begin with the columns text,category.`)
  }
  return rows.map(([text = '', category = '']) => ({ text, category }))
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      data: { type: 'string', default: '../shared/data/banking77' },
      out: { type: 'string', default: 'banking77.jsonl' },
      train: { type: 'string', default: '2000' },
      test: { type: 'string', default: '500' },
      seed: { type: 'string', default: '1' },
    },
  })
  try {
    const lines = await banking77Chats({
      data: values.data,
      train: Number(values.train),
      test: Number(values.test),
      seed: Number(values.seed),
    })
    await writeFile(values.out, lines.map((line) => `${line}\n`).join(''))
    process.stdout.write(`${lines.length} chats written to ${values.out}\n`)
  } catch (error) {
    const hint = error instanceof ShadowError && error.hint !== undefined ? ` ${error.hint}` : ''
    process.stderr.write(`${messageOf(error)}${hint}\n`)
    process.exitCode = 1
  }
}
