import { expect, test } from 'vitest'
import { UsageFilter } from '../../proxy/hidden-usage.ts'
import { startProxy } from '../support/proxy.ts'
import { type Answer, streamOf } from '../support/stand-in-upstream.ts'

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

/** Streams as they come, and as an agent that didn't ask for counts sees them. */
const streams: Record<string, [string, string]> = {
  'all kinds of events': [
    ': comment\r\n\r\ndata: {"usage":null,"a":1}\n\ndata: {"a":"usage","usage" : null}\n\nevent: x\ndata: {"choices": [],"usage":{"n":1}}\r\n\r\ndata: [DONE]\n\nrest',
    ': comment\r\n\r\ndata: {"a":1}\n\ndata: {"a":"usage"}\n\ndata: [DONE]\n\nrest',
  ],
  'returns alone': [
    'data: {"a":1,"usage":null}\r\rdata: {"choices":[],"usage":{}}\r\rdata: [DONE]\r\r',
    'data: {"a":1}\r\rdata: [DONE]\r\r',
  ],
  'line ends that change': [
    'data: {"a":1,"usage":null}\n\r\ndata: {"choices":[],"usage":{}}\r\n\ndata: [DONE]\r\n\r\n',
    'data: {"a":1}\n\r\ndata: [DONE]\r\n\r\n',
  ],
  'data of several lines': [
    'data: {"choices":[],\ndata: "usage":{"n":1}}\n\ndata: {"usage":null,\r\ndata: "é":1}\r\n\r\n',
    'data: {"é":1}\r\n\r\n',
  ],
  'counts beside choices, and lists that only look empty': [
    'data: {"choices":[{"x":{"choices":[]}}],"usage":{"n":1}}\n\ndata: {"choices":[],"usage_":{"n":1}}\n\n',
    'data: {"choices":[{"x":{"choices":[]}}],"usage":{"n":1}}\n\ndata: {"choices":[],"usage_":{"n":1}}\n\n',
  ],
}

test.each(Object.entries(streams))(
  'a filtered stream is the same wherever its chunks are cut: %s',
  (_name, [text, wanted]) => {
    const stream = Buffer.from(text)
    const filtered = (...pieces: Uint8Array[]) => {
      const filter = new UsageFilter()
      return Buffer.concat([...pieces.map((piece) => filter.push(piece)), filter.rest()]).toString()
    }
    for (let cut = 0; cut <= stream.length; cut++) {
      expect(filtered(stream.subarray(0, cut), stream.subarray(cut))).toBe(wanted)
    }
    expect(filtered(...Array.from(stream, (byte) => Buffer.from([byte])))).toBe(wanted)
  },
)

test('options that the agent sets beside are kept, and a length that no longer holds is left out', async () => {
  await using shadow = await startProxy({
    options: asksUsage,
    answer: (_request, res) => {
      const chunks = ['{"choices":[{"index":0,"delta":{"content":"a"}}]}', '{"choices":[],"usage":{"n":1}}']
      const body = [...chunks, '[DONE]'].map((data) => `data: ${data}\n\n`).join('')
      res.writeHead(200, { 'content-type': 'text/event-stream', 'content-length': body.length }).end(body)
    },
  })
  const options = [
    null,
    {},
    { include_obfuscation: false },
    { include_usage: false, include_obfuscation: true },
  ]
  for (const stream_options of options) {
    expect(await bytesOf(shadow.origin, { ...hi, stream_options })).not.toContain('usage')
    const sent: unknown = JSON.parse(shadow.standIn.seen.at(-1)?.body.toString() ?? '')
    expect(sent).toEqual({ ...hi, stream_options: { ...stream_options, include_usage: true } })
  }
})

test('an upstream that refuses the option is asked as the agent asked', async () => {
  await using shadow = await startProxy({
    options: asksUsage,
    answer: (request, res, req) => {
      if (!request.body.includes('stream_options')) return answer(request, res, req)
      res.writeHead(422).end('{"error":{"message":"unknown field stream_options"}}')
    },
  })
  expect(await bytesOf(shadow.origin, hi)).toContain('[DONE]')
  expect(shadow.standIn.seen.at(-1)?.body.toString()).toBe(JSON.stringify(hi))
  expect((await shadow.reader.callsOfTask('default'))[0]).toMatchObject({ status: 'complete', usage: null })
})

test('several choices are filtered too, and an end that is not on record stays withheld', async () => {
  const several: Answer = (_request, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const [index, piece] of ['a', 'b', 'c', 'd'].entries()) {
      const choice = { index: index % 2, delta: { content: piece }, finish_reason: index > 1 ? 'stop' : null }
      res.write(`data: ${JSON.stringify({ choices: [choice], usage: null })}\r\n\r\n`)
    }
    const usage = { prompt_tokens: 1, completion_tokens: 4, total_tokens: 5 }
    res.end(`data: ${JSON.stringify({ choices: [], usage })}\r\n\r\ndata: [DONE]\r\n\r\n`)
  }
  await using shadow = await startProxy({
    options: { ...asksUsage, capturing: 'strict' },
    answer: several,
  })
  const text = await bytesOf(shadow.origin, { ...hi, n: 2 })
  expect(text).not.toContain('usage')
  expect(text.match(/data: /g)).toHaveLength(5)
  const [call] = await shadow.reader.callsOfTask('default')
  expect(call?.replies.map(({ message }) => message.content)).toEqual(['ac', 'bd'])
  expect(call?.usage?.total_tokens).toBe(5)
  shadow.store.record = async () => {
    throw new Error('no space left on device')
  }
  await expect(bytesOf(shadow.origin, hi)).rejects.toThrow()
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
