import { expect, test } from 'vitest'
import type { Upstream } from '../../src/contract/index.ts'
import { createHttpUpstream } from '../../proxy/http-upstream.ts'
import { startProxy } from '../support/proxy.ts'
import { chatRequest, sendRaw } from '../support/raw-http.ts'
import { type Answer, replyWith, type StandInUpstream, startStandIn } from '../support/stand-in-upstream.ts'

interface Body {
  model: string
  messages: { role: 'system' | 'user'; content: string }[]
}

const hi: Body = { model: 'gpt-x', messages: [{ role: 'user', content: 'hi' }] }

/** A proxy whose task `sorting` is owned, and a stand-in for the owned model's server. */
async function startOwned(answer: Answer, owned?: Upstream | null) {
  const engine = await startStandIn(answer)
  const upstream = createHttpUpstream({ name: 'owned', baseUrl: engine.baseUrl })
  const shadow = await startProxy({
    answer: replyWith(() => 'from the frontier'),
    options: {
      owned: owned === undefined ? upstream : owned,
      routes: {
        routeOf: (task) =>
          task === 'sorting'
            ? { state: 'owned', version: 'owned/sorting@2' }
            : { state: 'frontier', version: null },
        versions: () => ['owned/sorting@2', 'owned/sorting@1'],
      },
    },
  })
  return {
    shadow,
    engine,
    async [Symbol.asyncDispose]() {
      await shadow[Symbol.asyncDispose]()
      await upstream.close()
      await engine.close()
    },
  }
}

function modelSeenBy({ seen }: StandInUpstream): unknown {
  return JSON.parse(seen.at(-1)?.body.toString() ?? '{}').model
}

test('a task whose route is owned is answered by its version, under the same wire shape', async () => {
  await using set = await startOwned(replyWith(() => 'from the owned model'))
  const { shadow, engine } = set
  for (const stream of [false, true]) {
    const reply = await fetch(`${shadow.origin}/tasks/sorting/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer sk-agent' },
      body: JSON.stringify({ ...hi, stream }),
    })
    expect(reply.headers.get('x-shadow-served-by')).toBe('owned/sorting@2')
    expect(await reply.text()).toContain(stream ? 'data: [DONE]' : 'from the owned model')
    const call = await shadow.reader.readCall(reply.headers.get('x-shadow-call') ?? '')
    expect(call).toMatchObject({
      servedBy: 'owned/sorting@2',
      fallbackFrom: null,
      modelAsked: 'gpt-x',
      replies: [{ message: { content: 'from the owned model' } }],
    })
  }
  expect(modelSeenBy(engine)).toBe('owned/sorting@2')
  expect(engine.seen[0]?.rawHeaders.join()).not.toContain('sk-agent')
  expect(shadow.standIn.seen).toEqual([])
})

test.each<[string, Answer]>([
  ['answers with an error', (_request, res) => void res.writeHead(503).end('{}')],
  ['hangs up', (_request, res) => void res.destroy()],
  [
    'hangs up after its head',
    (_request, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
      setTimeout(() => res.destroy(), 20)
    },
  ],
  ['sends nothing', (_request, res) => void res.writeHead(200).end()],
])(
  'an owned model that %s before its first byte is replaced by the frontier in the same request',
  async (_what, answer) => {
    await using set = await startOwned(answer)
    const { data, response } = await set.shadow
      .client('/tasks/sorting/v1')
      .chat.completions.create(hi)
      .withResponse()
    expect(data.choices[0]?.message.content).toBe('from the frontier')
    expect(response.headers.get('x-shadow-served-by')).toBe('frontier')
    expect(modelSeenBy(set.shadow.standIn)).toBe('gpt-x')
    const [call] = await set.shadow.reader.callsOfTask('sorting')
    expect(call).toMatchObject({ status: 'complete', servedBy: 'frontier', fallbackFrom: 'owned/sorting@2' })
    expect(call?.error).not.toBeNull()
  },
)

test('without anything that serves it, an owned route is answered by the frontier', async () => {
  await using set = await startOwned(() => {}, null)
  const reply = await set.shadow.client('/tasks/sorting/v1').chat.completions.create(hi)
  expect(reply.choices[0]?.message.content).toBe('from the frontier')
})

test('a request that names a version is answered by it or not at all', async () => {
  await using set = await startOwned(replyWith(() => 'from the owned model'))
  const asked = { ...hi, model: 'owned/sorting@1' }
  const reply = await set.shadow.client().chat.completions.create(asked)
  expect(reply.choices[0]?.message.content).toBe('from the owned model')
  set.engine.answer = (_request, res) =>
    void res.writeHead(404).end('{"error":{"message":"no such version"}}')
  await expect(set.shadow.client().chat.completions.create(asked)).rejects.toThrow('no such version')
  expect(set.shadow.standIn.seen).toEqual([])
})

test('models: the upstream’s and the owned ones; the owned ones alone when it fails', async () => {
  await using set = await startOwned(() => {})
  const { shadow } = set
  shadow.standIn.answer = (_request, res) =>
    void res.end('{"object":"list","data":[{"id":"gpt-x"}],"more":1}')
  const ids = async () => (await shadow.client().models.list()).data.map(({ id }) => id)
  expect(await ids()).toEqual(['gpt-x', 'owned/sorting@2', 'owned/sorting@1'])
  shadow.standIn.answer = (_request, res) => void res.writeHead(500).end('{}')
  expect(await ids()).toEqual(['owned/sorting@2', 'owned/sorting@1'])
  await shadow.standIn.close()
  expect(await ids()).toEqual(['owned/sorting@2', 'owned/sorting@1'])
})

test('models: without owned versions the upstream’s own bytes', async () => {
  await using shadow = await startProxy({ answer: (_request, res) => void res.end('{"data" : [ ]}') })
  expect(await (await fetch(`${shadow.origin}/v1/models`)).text()).toBe('{"data" : [ ]}')
})

test('a call’s task: its URL, its header, a rule, the default', async () => {
  await using shadow = await startProxy({
    options: {
      tasks: {
        rules: () => [
          { task: 'empty', recognise: { models: [], systemPrefix: null } },
          { task: 'by-both', recognise: { models: ['gpt-x'], systemPrefix: 'You sort' } },
          { task: 'by-model', recognise: { models: ['gpt-y'], systemPrefix: null } },
        ],
      },
    },
  })
  const taskOf = async (path: string, headers: Record<string, string>, body: Body) => {
    const { response } = await shadow.client(path, headers).chat.completions.create(body).withResponse()
    return (await shadow.reader.readCall(response.headers.get('x-shadow-call') ?? '')).task
  }
  const instructed: Body = {
    ...hi,
    messages: [{ role: 'system', content: 'You sort letters.' }, ...hi.messages],
  }
  expect(await taskOf('/tasks/by-url/v1', { 'x-task': 'by-header' }, instructed)).toBe('by-url')
  expect(await taskOf('/v1', { 'x-task': 'by-header' }, instructed)).toBe('by-header')
  expect(await taskOf('/v1', {}, instructed)).toBe('by-both')
  expect(await taskOf('/v1', {}, { ...hi, model: 'gpt-y' })).toBe('by-model')
  expect(await taskOf('/v1', {}, hi)).toBe('default')
  expect(await shadow.reader.listTasks()).toEqual(['by-both', 'by-header', 'by-model', 'by-url', 'default'])
})

test.each([
  '/tasks/No%20Name/v1/chat/completions',
  '/v1/../secrets',
  '/v1/%2e%2e/secrets',
  '/tasks/../v1/models',
])('the path %s is refused', async (path) => {
  await using shadow = await startProxy()
  const reply = await sendRaw(shadow.origin, chatRequest(JSON.stringify(hi), [], path))
  expect(reply.head).toMatch(/^HTTP\/1.1 40[04]/)
  expect(shadow.standIn.seen).toEqual([])
})
