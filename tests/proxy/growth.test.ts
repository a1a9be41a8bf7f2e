import { statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startProxy } from '../support/proxy.ts'
import { replyWith } from '../support/stand-in-upstream.ts'

test('what a chat of 50 turns stores grows with its messages, not with its requests', async () => {
  await using shadow = await startProxy({
    answer: replyWith(({ messages }) => `${messages.length} `.repeat(200)),
  })
  const tools = [{ type: 'function', function: { name: 'find', description: 'x'.repeat(5000) } }]
  const messages: { role: string; content: string }[] = []
  const bytesAfter: number[] = []
  let sentBytes = 0
  for (let turn = 1; turn <= 50; turn++) {
    messages.push({ role: 'user', content: `question ${turn} `.repeat(100) })
    const body = JSON.stringify({ model: 'm', temperature: 0.5, tools, messages })
    sentBytes += body.length
    const reply = await fetch(`${shadow.origin}/v1/chat/completions`, { method: 'POST', body })
    const { choices }: { choices: { message: { role: string; content: string } }[] } = JSON.parse(
      await reply.text(),
    )
    const message = choices[0]?.message
    if (message !== undefined) messages.push(message)
    if (turn % 25 === 0) bytesAfter.push((await shadow.reader.stats()).uniqueBytes)
  }
  const stats = await shadow.reader.stats()
  const unique = messages.reduce(
    (sum, message) => sum + JSON.stringify(message).length,
    JSON.stringify(tools).length,
  )
  expect(stats).toMatchObject({
    calls: 50,
    sessions: 1,
    uniqueMessages: 100,
    uniqueBytes: unique,
    totalMessages: 2550,
  })
  const [half = 0, whole = 0] = bytesAfter
  expect(whole / half).toBeLessThan(2.05)
  expect(sentBytes).toBeGreaterThan(20 * unique)
  await shadow.store.close()
  expect(statSync(join(shadow.home, 'capture.db')).size).toBeLessThan(sentBytes / 5)
})
