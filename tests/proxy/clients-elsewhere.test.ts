/** Clients in other languages, their official ones where there are such, with only the base URL changed. */
import { execFile, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { startProxy } from '../support/proxy.ts'
import { pythonWithClients } from '../support/python-clients.ts'
import { answerInAnyDialect } from '../support/stand-in-dialects.ts'

const execute = promisify(execFile)
const folder = join(import.meta.dirname, '../clients')
const said = 'It is sunny, hé 🙂'
const has = (program: string, argument: string) => spawnSync(program, [argument]).status === 0

test('Python: openai and anthropic, whole and streamed', { timeout: 180_000 }, async () => {
  const python = await pythonWithClients()
  await using shadow = await startProxy({ answer: answerInAnyDialect(said) })
  const { stdout } = await execute(python, [join(folder, 'clients.py'), shadow.origin])
  const lines = stdout.trim().split('\n')
  const answers = lines.map((line) => z.tuple([z.string(), z.string()]).parse(JSON.parse(line)))
  expect(answers.map(([, text]) => text)).toEqual(Array.from({ length: 6 }, () => said))
  await expect
    .poll(async () =>
      (await shadow.reader.callsOfTask('default')).map(({ dialect, status }) => [dialect, status]),
    )
    .toEqual([
      ['chat', 'complete'],
      ['chat', 'complete'],
      ['responses', 'complete'],
      ['responses', 'complete'],
      ['messages', 'complete'],
      ['messages', 'complete'],
    ])
})

test.skipIf(!has('curl', '--version'))('curl: bytes as the upstream sent them', async () => {
  await using shadow = await startProxy({ answer: answerInAnyDialect(said) })
  const ask = async (origin: string) => {
    const body = JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'hi' }] })
    const { stdout } = await execute('curl', ['-sN', '--data', body, `${origin}/v1/chat/completions`])
    return stdout
  }
  const direct = await ask(shadow.standIn.baseUrl.replace('/v1', ''))
  expect(await ask(shadow.origin)).toBe(direct)
  expect(direct).toContain('[DONE]')
  expect((await shadow.reader.callsOfTask('default')).map(({ status }) => status)).toEqual(['complete'])
})
