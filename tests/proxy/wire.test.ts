import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { startProxy } from '../support/proxy.ts'
import { chatRequest, sendRaw, startRawUpstream } from '../support/raw-http.ts'
import { completionOf, streamOf } from '../support/stand-in-upstream.ts'

const simple = '{"model":"m","messages":[{"role":"user","content":"hi"}]}'

test('status, headers and body reach the agent as the upstream sent them', async () => {
  const body = JSON.stringify(completionOf({ role: 'assistant', content: 'ok' }))
  const sent = [
    'X-ReQuest-ID: 7',
    'Set-Cookie: a=1',
    'x-latin: caf\xe9 \xff',
    'Set-Cookie: b=2',
    'Date: Sat, 01 Jan 2000 00:00:00 GMT',
    `Content-Length: ${body.length}`,
    'content-type: application/json',
  ]
  await using upstream = await startRawUpstream((socket) =>
    socket.write(
      Buffer.from(
        `HTTP/1.1 200 OK\r\n${sent.join('\r\n')}\r\nKeep-Alive: timeout=9\r\n\r\n${body}`,
        'latin1',
      ),
    ),
  )
  await using shadow = await startProxy({ baseUrl: upstream.baseUrl })
  const reply = await sendRaw(shadow.origin, chatRequest(simple))
  const lines = reply.head.split('\r\n')
  expect(lines[0]).toBe('HTTP/1.1 200 OK')
  expect(lines.slice(1, 1 + sent.length)).toEqual(sent)
  const added = lines.slice(1 + sent.length).map((line) => line.split(':')[0])
  expect(added).toEqual(['x-shadow-call', 'x-shadow-served-by', 'Connection'])
  expect(reply.body.toString()).toBe(body)
})

test('a head that comes long before its body is sent on with its bytes intact', async () => {
  await using upstream = await startRawUpstream((socket) => {
    socket.write(
      Buffer.from(
        'HTTP/1.1 200 OK\r\nx-latin: \xe9\xff\r\nContent-Type: text/event-stream\r\nContent-Length: 14\r\n\r\n',
        'latin1',
      ),
    )
    setTimeout(() => socket.write('data: [DONE]\n\n'), 100)
  })
  await using shadow = await startProxy({ baseUrl: upstream.baseUrl })
  const reply = await sendRaw(shadow.origin, chatRequest(simple))
  expect(reply.head).toContain('x-latin: \xe9\xff\r\n')
  expect(reply.body.toString()).toBe('data: [DONE]\n\n')
})

test('informational heads are overlooked, an upstream’s own status and phrase are kept', async () => {
  const body = JSON.stringify(completionOf({ role: 'assistant', content: 'ok' }))
  const hints = 'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'
  const own = `HTTP/1.1 218 This is fine\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  await using upstream = await startRawUpstream((socket) => socket.write(hints + own))
  await using shadow = await startProxy({ baseUrl: upstream.baseUrl })
  const reply = await sendRaw(shadow.origin, chatRequest(simple))
  expect(reply.head.split('\r\n')[0]).toBe('HTTP/1.1 218 This is fine')
  expect(reply.body.toString()).toBe(body)
  expect(await shadow.reader.listCalls()).toMatchObject([{ status: 'complete', httpStatus: 218 }])
})

test.each([
  'HTTP/1.1 200 OK\r\nX-A: a\x01b\r\n\r\n',
  'HTTP/1.1 200 OK\r\nX A: b\r\n\r\n',
  'SSH-2.0-OpenSSH_9.6\r\n',
])('what is no HTTP reply is said to be none: %j', async (bytes) => {
  await using upstream = await startRawUpstream((socket) => socket.write(bytes))
  await using shadow = await startProxy({ baseUrl: upstream.baseUrl })
  const reply = await fetch(`${shadow.origin}/v1/chat/completions`, { method: 'POST', body: simple })
  expect(reply.status).toBe(502)
  expect(await reply.json()).toMatchObject({
    error: { code: 'upstream_error', message: expect.stringContaining('no HTTP reply') },
  })
  expect(await shadow.reader.listCalls()).toMatchObject([{ status: 'upstream_error', httpStatus: null }])
})

test.each(['/v1//chat/completions', '/v1/chat/completions/'])(
  'a slash too many at %s changes nothing for the upstream',
  async (path) => {
    await using shadow = await startProxy()
    const reply = await fetch(`${shadow.origin}${path}`, { method: 'POST', body: simple })
    expect([reply.status, shadow.standIn.seen[0]?.url]).toEqual([200, path])
    await reply.text()
    expect((await shadow.reader.stats()).calls).toBe(1)
  },
)

test('the request reaches the upstream as the agent sent it, less what belongs to the connection', async () => {
  let seen = ''
  await using upstream = await startRawUpstream((socket, request) => {
    seen = request
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}')
  })
  await using shadow = await startProxy({ baseUrl: upstream.baseUrl })
  const headers = [
    'X-Odd: caf\xe9',
    'authorization: Bearer sk-agent',
    'Accept-Encoding: gzip, br',
    'X-Session-Id: s1',
    'X-Twice: 1',
    'X-Twice: 2',
    'Keep-Alive: timeout=5',
    'TE: trailers',
  ]
  await sendRaw(shadow.origin, chatRequest(simple, headers, '/tasks/sorting/v1/chat/completions?a=b%20c'))
  const [head = '', body] = seen.split('\r\n\r\n')
  const lines = head.split('\r\n')
  expect(lines[0]).toBe('POST /v1/chat/completions?a=b%20c HTTP/1.1')
  expect(lines).toEqual(expect.arrayContaining(headers.slice(0, 6)))
  expect(lines.filter((line) => /^(keep-alive|te|host: shadow)/i.test(line))).toEqual([])
  expect(body).toBe(simple)
})

test('an upstream key takes the place of the agent’s own', async () => {
  await using shadow = await startProxy({ apiKey: 'sk-upstream' })
  await shadow.client().chat.completions.create({ model: 'm', messages: [{ role: 'user', content: 'hi' }] })
  const headers = shadow.standIn.seen[0]?.rawHeaders ?? []
  expect(headers.filter((value) => value.includes('sk-'))).toEqual(['Bearer sk-upstream'])
})

test('every request that was answered can be rebuilt byte for byte', async () => {
  await using shadow = await startProxy()
  const space = fc.stringMatching(/^[ \n\r\t]{0,3}$/)
  const number = fc.constantFrom('1.0', '-0', '1E+3', '12345678901234567890', '0.10', '1e-7')
  const text = fc.string({ unit: 'grapheme', maxLength: 20 }).map((value) => JSON.stringify(value))
  const escaped = fc.constantFrom('"\\u0041"', '"\\/"', '"\\ud800"', '"\\u00e9é"', '""')
  const scalar = fc.oneof(number, text, escaped, fc.constantFrom('null', 'true'))
  const message = fc
    .tuple(space, text, scalar, space)
    .map(([a, content, extra, b]) => `{${a}"role"${b}:"user","content":${content},"7":${extra},"7":1${a}}`)
  const separated = (items: fc.Arbitrary<string[]>) =>
    fc.tuple(items, space, space).map(([list, a, b]) => `[${a}${list.join(`${b},${a}`)}${b}]`)
  const body = fc
    .tuple(
      separated(fc.array(message, { minLength: 1, maxLength: 4 })),
      fc.option(separated(fc.array(scalar, { maxLength: 3 }))),
      fc.array(fc.tuple(fc.constantFrom('10', '9', 'a', 'messages_', 'seed'), scalar), { maxLength: 4 }),
      fc.option(fc.string({ minLength: 600, maxLength: 700 })),
      space,
    )
    .map(([messages, tools, others, large, a]) =>
      [
        ...others.map(([name, value]) => `"${name}"${a}:${value}`),
        ...(large === null ? [] : [`"large":${JSON.stringify(large)}`]),
        `"messages":${a}${messages}`,
        ...(tools === null ? [] : [`"tools":${tools}`]),
        '"model":"m"',
      ].join(`${a},`),
    )
    .map((members) => ` {${members}}\n`)
  await fc.assert(
    fc.asyncProperty(body, async (sent) => {
      const reply = await fetch(`${shadow.origin}/v1/chat/completions`, { method: 'POST', body: sent })
      await reply.text()
      const id = reply.headers.get('x-shadow-call') ?? ''
      expect(Buffer.from(await shadow.reader.requestBytes(id)).toString()).toBe(sent)
      expect(shadow.standIn.seen.at(-1)?.body.toString()).toBe(sent)
    }),
    { numRuns: 60 },
  )
})

test('chunks arrive as they were sent, each before the next one is', async () => {
  const pieces = [
    'data: {"choices":[{"index":0,"delta":{"content":"a',
    'b"}}]}\n',
    '\n: ping\n\n',
    'data: [DONE]\n\n',
  ]
  let sendNext = () => {}
  await using shadow = await startProxy({
    answer: (_request, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' })
      const left = [...pieces]
      sendNext = () => {
        const piece = left.shift()
        if (piece !== undefined) res.write(piece)
        if (left.length === 0) res.end()
      }
      res.flushHeaders()
    },
  })
  const reply = await fetch(`${shadow.origin}/v1/chat/completions`, { method: 'POST', body: simple })
  const reader = reply.body?.getReader()
  for (const piece of pieces) {
    sendNext()
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe(piece)
  }
  expect((await reader?.read())?.done).toBe(true)
  const call = await shadow.reader.readCall(reply.headers.get('x-shadow-call') ?? '')
  expect(call.replies[0]?.message.content).toBe('ab')
})

test.each(['json', 'stream'])(
  'an encoded reply (%s) passes as it is and is decoded for the record',
  async (kind) => {
    const text =
      kind === 'json'
        ? JSON.stringify(completionOf({ role: 'assistant', content: 'zipped' }))
        : [...streamOf('zipped'), '[DONE]'].map((data) => `data: ${data}\n\n`).join('')
    const zipped = gzipSync(text)
    await using shadow = await startProxy({
      answer: (_request, res) => {
        res.writeHead(200, {
          'content-type': kind === 'json' ? 'application/json' : 'text/event-stream',
          'content-encoding': 'gzip',
        })
        res.write(zipped.subarray(0, 20))
        setTimeout(() => res.end(zipped.subarray(20)), 20)
      },
    })
    const reply = await sendRaw(shadow.origin, chatRequest(simple, ['Accept-Encoding: gzip']))
    expect(reply.head).toContain('content-encoding: gzip')
    const chunks = reply.body.toString('latin1').split('\r\n')
    const body = Buffer.from(chunks.filter((_line, at) => at % 2 === 1).join(''), 'latin1')
    expect(gunzipSync(body).toString()).toBe(text)
    const [call] = await shadow.reader.callsOfTask('default')
    expect(call).toMatchObject({
      status: 'complete',
      usage: { total_tokens: 7 },
      replies: [{ message: { content: 'zipped' } }],
    })
  },
)

test('what no dialect knows is passed through, both bodies streamed, and not captured', async () => {
  await using shadow = await startProxy({
    answer: (request, res) => {
      res.writeHead(201, { 'x-method': request.method })
      res.end(request.body)
    },
  })
  const body = Buffer.alloc(3_000_000, 'x')
  const reply = await fetch(`${shadow.origin}/tasks/t/v1/files/a%2Fb?purpose=x`, { method: 'PUT', body })
  expect([reply.status, reply.headers.get('x-method')]).toEqual([201, 'PUT'])
  expect(Buffer.from(await reply.arrayBuffer()).equals(body)).toBe(true)
  expect(shadow.standIn.seen[0]?.url).toBe('/v1/files/a%2Fb?purpose=x')
  expect((await shadow.reader.stats()).calls).toBe(0)
})

test('an upstream’s own errors pass unchanged and are recorded', async () => {
  const body = '{"error":{"message":"slow down","type":"rate_limit"}}'
  await using shadow = await startProxy({
    answer: (_request, res) => {
      res.writeHead(429, { 'retry-after': '7', 'content-type': 'application/json' })
      res.end(body)
    },
  })
  const reply = await fetch(`${shadow.origin}/v1/chat/completions`, { method: 'POST', body: simple })
  expect([reply.status, reply.headers.get('retry-after'), await reply.text()]).toEqual([429, '7', body])
  const [call] = await shadow.reader.callsOfTask('default')
  expect(call).toMatchObject({ status: 'upstream_error', httpStatus: 429, replies: [] })
  expect(Buffer.from((await shadow.reader.replyBytes(call?.id ?? '')) ?? []).toString()).toBe(body)
})
