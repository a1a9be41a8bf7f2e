import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { UsageFilter } from '../../proxy/hidden-usage.ts'
import { startProxy } from '../support/proxy.ts'
import { type Answer, completionOf, streamOf } from '../support/stand-in-upstream.ts'

const hi = { model: 'm', stream: true as const, messages: [{ role: 'user' as const, content: 'hi' }] }
const asksUsage = { tasks: { rules: () => [], asksUsage: () => true } }

/** As OpenAI does it: with the option every chunk has the field, and one more has the counts. */
const answer: Answer = (request, res) => {
  const asked: unknown = JSON.parse(request.body.toString('utf8'))
  const withUsage = JSON.stringify(asked).includes('"include_usage":true')
  res.writeHead(200, { 'content-type': 'text/event-stream' })
  for (const data of streamOf('héllo')) {
    const isCounts = data.includes('"choices":[]')
    if (isCounts && !withUsage) continue
    const chunk = !withUsage || isCounts ? data : data.replace(/}$/, ',"usage":null}')
    // Cut where no event ends.
    res.write(`data: ${chunk.slice(0, 9)}`)
    res.write(`${chunk.slice(9)}\n\n`)
  }
  res.end('data: [DONE]\n\n')
}

async function bytesOf(origin: string, body: object): Promise<string> {
  const reply = await fetch(`${origin}/v1/chat/completions`, { method: 'POST', body: JSON.stringify(body) })
  return reply.text()
}

test('where the task opts in, counts are on record and the agent sees the stream that it asked for', async () => {
  await using shadow = await startProxy({ answer, options: asksUsage })
  const direct = await bytesOf(shadow.standIn.baseUrl.replace('/v1', ''), hi)
  expect(await bytesOf(shadow.origin, hi)).toBe(direct)
  expect(direct).not.toContain('usage')
  const [call] = await shadow.reader.callsOfTask('default')
  expect(call?.usage).toEqual({ prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 })
  const recorded = await shadow.reader.requestBytes(call?.id ?? '')
  expect(recorded.toString()).toBe(JSON.stringify(hi))
})

test('an agent that asks itself sees the counts; without the opt-in nothing is added', async () => {
  await using asking = await startProxy({ answer, options: asksUsage })
  const itself = { ...hi, stream_options: { include_usage: true } }
  expect(await bytesOf(asking.origin, itself)).toContain('"completion_tokens":2')
  await using plain = await startProxy({ answer })
  await bytesOf(plain.origin, hi)
  expect(plain.standIn.seen[0]?.body.toString()).toBe(JSON.stringify(hi))
  expect((await plain.reader.callsOfTask('default'))[0]?.usage).toBeNull()
})

test('a filtered stream is the same wherever its chunks are cut', () => {
  const stream = Buffer.from(
    ': comment\r\n\r\ndata: {"usage":null,"a":1}\n\ndata: {"a":"usage","usage" : null}\n\nevent: x\ndata: {"choices": [],"usage":{"n":1}}\r\n\r\ndata: [DONE]\n\nrest',
  )
  const wanted = ': comment\r\n\r\ndata: {"a":1}\n\ndata: {"a":"usage"}\n\ndata: [DONE]\n\nrest'
  for (let cut = 0; cut <= stream.length; cut++) {
    const filter = new UsageFilter()
    const pieces = [filter.push(stream.subarray(0, cut)), filter.push(stream.subarray(cut)), filter.rest()]
    expect(Buffer.concat(pieces).toString()).toBe(wanted)
  }
})

test('a stream with a damaged event is passed on, and is no training target', async () => {
  await using shadow = await startProxy({
    answer: (_request, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' })
      const [first, second, ...others] = streamOf('abc')
      for (const data of [first, second, second?.slice(0, -9), ...others]) res.write(`data: ${data}\n\n`)
      res.end('data: [DONE]\n\n')
    },
  })
  expect(await bytesOf(shadow.origin, hi)).toContain('[DONE]')
  const [call] = await shadow.reader.callsOfTask('default')
  expect(call).toMatchObject({ status: 'upstream_error', error: 'An event of the stream is no JSON object.' })
})

test('a body that is encoded goes up as it is, and is not captured; strict mode refuses it', async () => {
  const compressed = gzipSync(JSON.stringify({ ...hi, stream: false }))
  const send = (origin: string) =>
    fetch(`${origin}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-encoding': 'gzip' },
      body: compressed,
    })
  const reply: Answer = (_request, res) => {
    res.setHeader('content-type', 'application/json')
    res.end(JSON.stringify(completionOf({ role: 'assistant', content: 'a' })))
  }
  await using shadow = await startProxy({ answer: reply })
  expect((await send(shadow.origin)).status).toBe(200)
  expect(shadow.standIn.seen[0]?.body.equals(compressed)).toBe(true)
  expect(await shadow.reader.callsOfTask('default')).toEqual([])
  await using strict = await startProxy({ answer: reply, options: { capturing: 'strict' } })
  expect((await send(strict.origin)).status).toBe(503)
  expect(strict.standIn.seen).toEqual([])
})
