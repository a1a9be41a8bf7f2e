/** Journals of the version before, whose entries came with their places and the names of their nodes. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { chat, dialects } from '../../src/dialects/index.ts'
import { sliceOf } from '../../src/lib/json-slices.ts'
import { openCaptureReader, openCaptureStore } from '../../src/store/capture/index.ts'
import { journalFolder } from '../../src/store/capture/home.ts'
import { frameOf, segmentPath } from '../../src/store/capture/journal.ts'
import { canonicalHash, hashAt, PromptHasher, rawHash, replyTo } from '../../src/store/capture/prompt.ts'
import { openStoreSecret } from '../../src/store/secret.ts'
import { placedCall, temporaryHome } from '../support/store.ts'

const question = { role: 'user', content: 'q' }
const answer = { role: 'assistant', content: 'a' }

test('a journal of the version before is brought in, and conversations go on from it', async () => {
  await using folder = await temporaryHome()
  await (await openCaptureStore(folder.home, dialects)).close()
  const { entry, body, reply } = oldEntry(folder.home)
  mkdirSync(journalFolder(folder.home), { recursive: true })
  writeFileSync(segmentPath(journalFolder(folder.home), 1), Buffer.concat(frameOf(entry)))

  const reader = await openCaptureReader(folder.home, dialects)
  expect(await reader.readCall('OLD')).toMatchObject({
    session: 'OLD',
    parent: null,
    modelAnswered: 'm-1',
    messages: [question],
    replies: [{ message: answer }],
  })
  expect(Buffer.from(await reader.requestBytes('OLD')).equals(body)).toBe(true)
  expect(Buffer.from((await reader.replyBytes('OLD')) ?? []).equals(reply)).toBe(true)
  await reader.close()

  const store = await openCaptureStore(folder.home, dialects)
  const after = await placedCall(store, { messages: [question, answer, question], replies: [answer] })
  expect(after).toMatchObject({ session: 'OLD', parent: 'OLD' })
  await store.close()
})

function oldEntry(home: string) {
  const hash = openStoreSecret(home)
  const body = Buffer.from(JSON.stringify({ model: 'm', messages: [question] }))
  const reply = Buffer.from(JSON.stringify({ model: 'm-1', choices: [{ index: 0, message: answer }] }))
  const [message] = chat.splitRequest(body).messages
  const [choice] = chat.splitReply(reply)?.choices ?? []
  if (message === undefined || choice === undefined) throw new Error('Both have one message.')
  const prompt = new PromptHasher(hash).prompt({
    dialect: chat,
    tools: null,
    messages: [sliceOf(body, message)],
  })
  const said = replyTo(prompt, sliceOf(reply, choice.message))
  const facts = {
    id: 'OLD',
    startedAt: 1000,
    status: 'complete',
    httpStatus: 200,
    stream: false,
    modelAsked: 'm',
    modelAnswered: 'm-1',
    servedBy: 'frontier',
    fallbackFrom: null,
    usage: null,
    timings: { firstByteMs: 1, totalMs: 2 },
    error: null,
    dialect: 'chat',
    task: 'default',
    keyHash: '',
    session: 'OLD',
    label: null,
    parent: null,
    rootMessages: 0,
    messages: [[message.start, message.end]],
    tools: null,
    large: [],
    replies: [{ index: 0, slice: [choice.message.start, choice.message.end], finishReason: null }],
    requestBytes: body.length,
  }
  const json = Buffer.from(JSON.stringify(facts))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(json.length)
  const hashes = [
    prompt.rawPath,
    prompt.canonicalPath,
    rawHash(hash, hashAt(prompt.rawPath, 1), said.bytes),
    canonicalHash(hash, hashAt(prompt.canonicalPath, 1), said),
  ]
  return { entry: [length, json, ...hashes, body, reply], body, reply }
}
