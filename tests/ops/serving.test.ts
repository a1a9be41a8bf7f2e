/** What must hold when several versions, bases and files change under a running server. */
import { appendFileSync, copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { OpenAI } from 'openai'
import { describe, expect, it } from 'vitest'
import { type TestHome, testHome } from '../support/home.ts'
import { childrenOf } from '../support/processes.ts'
import { replyWith, startStandIn, streamOf } from '../support/stand-in-upstream.ts'
import {
  playSessions,
  rightAnswer,
  startServer,
  startTraffic,
  taskName,
  tinySettings,
} from '../support/task-traffic.ts'
import { writeTinyModel } from '../support/tiny-model.ts'

async function promote(home: TestHome, task: string, model: string): Promise<string> {
  await home.shadow(['tasks', 'set', task, ...tinySettings(model)])
  const { code, stdout, stderr } = await home.shadow(['run', '--task', task, '--json'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const result: { promoted: boolean; version: string } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
  expect(result.promoted).toBe(true)
  return result.version
}

async function ask(url: string, task: string, content: string, model = 'frontier-1') {
  const client = new OpenAI({ baseURL: `${url}/tasks/${task}/v1`, apiKey: 'key', maxRetries: 0 })
  const { data, response } = await client.chat.completions
    .create({ model, messages: [{ role: 'user', content }] })
    .withResponse()
  return {
    servedBy: response.headers.get('x-shadow-served-by'),
    answer: data.choices[0]?.message.content,
  }
}

describe('several owned versions', { timeout: 180_000 }, () => {
  it('answer each from its own base model', async () => {
    await using home = await testHome()
    await using stack = new AsyncDisposableStack()
    const { client, server } = await startTraffic(home, stack)
    await playSessions(client(), 26)
    const other = new OpenAI({ baseURL: `${server.url}/tasks/other/v1`, apiKey: 'key', maxRetries: 0 })
    await playSessions(other, 26)
    const first = await promote(home, taskName, writeTinyModel(join(home.path, 'a'), 7))
    const second = await promote(home, 'other', writeTinyModel(join(home.path, 'b'), 8))
    expect(await ask(server.url, taskName, 'request 900')).toEqual({ servedBy: first, answer: rightAnswer })
    expect(await ask(server.url, 'other', 'request 900')).toEqual({ servedBy: second, answer: rightAnswer })
    expect(await childrenOf(server.pid)).toHaveLength(2)
  })

  it('are served only as they were evaluated, and one that is not takes no other with it', async () => {
    await using home = await testHome()
    await using stack = new AsyncDisposableStack()
    const { client, server, standIn } = await startTraffic(home, stack)
    await playSessions(client(), 26)
    const other = new OpenAI({ baseURL: `${server.url}/tasks/other/v1`, apiKey: 'key', maxRetries: 0 })
    await playSessions(other, 26)
    const base = writeTinyModel(join(home.path, 'a'), 7)
    await promote(home, taskName, base)
    const otherBase = join(home.path, 'other.gguf')
    copyFileSync(base, otherBase)
    const second = await promote(home, 'other', otherBase)
    await server.stop()

    appendFileSync(base, Buffer.alloc(32))
    const again = await startServer(home, standIn.baseUrl)
    await expect
      .poll(async () => (await ask(again.url, 'other', 'request 901')).servedBy, { timeout: 30_000 })
      .toBe(second)
    expect((await ask(again.url, taskName, 'request 901')).servedBy).toBe('frontier')
    const changed = await home.shadow(['route', taskName, 'owned'])
    expect(changed.code).toBe(1)
    expect(changed.stderr).toMatch(/not the one that was evaluated/)
    const missing = new OpenAI({ baseURL: `${again.url}/v1`, apiKey: 'key', maxRetries: 0 })
    await expect(
      missing.chat.completions.create({
        model: `owned/${taskName}@9`,
        messages: [{ role: 'user', content: 'x' }],
      }),
    ).rejects.toThrow(/no version owned/)
  })
})

describe('what a run finds in its way', { timeout: 180_000 }, () => {
  it('makes removed artifacts again, and takes a held-out call beyond the context for unanswered', async () => {
    await using home = await testHome()
    await using stack = new AsyncDisposableStack()
    const { client } = await startTraffic(home, stack)
    await playSessions(client(), 40)
    const long = 'word '.repeat(400)
    await client().chat.completions.create({ model: 'm', messages: [{ role: 'user', content: long }] })
    await home.shadow(['tasks', 'set', taskName, ...tinySettings(writeTinyModel(home.path))])
    const first = await home.shadow(['run', '--task', taskName, '--json'])
    expect(first.code).toBe(0)
    const result = JSON.parse(first.stdout.trim().split('\n').at(-1) ?? '')
    expect(readFileSync(result.reportMarkdown, 'utf8')).toMatch(/refused 1 held-out calls/)
    rmSync(join(home.path, 'artifacts', taskName), { recursive: true })
    const second = await home.shadow(['run', '--task', taskName])
    expect({ code: second.code, stderr: second.stderr }).toEqual({ code: 0, stderr: '' })
    expect(second.stdout).not.toMatch(/done before/)
  })

  it('steers past a server.json that a dead server left, even when its process number lives on', async () => {
    await using home = await testHome()
    await using stack = new AsyncDisposableStack()
    for (const left of ['', JSON.stringify({ pid: process.pid, url: 'http://127.0.0.1:9', token: 'x' })]) {
      writeFileSync(join(home.path, 'server.json'), left)
      await home.shadow(['tasks', 'set', taskName])
      expect((await home.shadow(['route', taskName, 'frontier'])).code).toBe(0)
      const { server } = await startTraffic(home, stack)
      await server.stop()
    }
  })
})

describe('upstreams by name', { timeout: 60_000 }, () => {
  it('answer where a task or a model name asks for them, and a missing one is said', async () => {
    await using home = await testHome()
    await using stack = new AsyncDisposableStack()
    const second = await startStandIn(replyWith(() => 'from the second'))
    stack.defer(() => second.close())
    const first = await startStandIn(replyWith(() => 'from the first'))
    stack.defer(() => first.close())
    await home.shadow(['tasks', 'set', 'cheap', 'upstream=second'])
    await home.shadow(['tasks', 'set', 'lost', 'upstream=nowhere'])
    const server = await startServer(home, first.baseUrl, ['--upstream', `second=${second.baseUrl}`])
    expect((await ask(server.url, taskName, 'hi')).answer).toBe('from the first')
    expect(await ask(server.url, 'cheap', 'hi')).toEqual({ servedBy: 'second', answer: 'from the second' })
    expect((await ask(server.url, taskName, 'hi', 'second/small')).answer).toBe('from the second')
    await expect(ask(server.url, 'lost', 'hi')).rejects.toThrow(/nowhere/)
  })
})

describe('time-outs of upstreams', { timeout: 60_000 }, () => {
  it('are set where the server is started, and cut nothing that still comes', async () => {
    await using home = await testHome()
    await using stack = new AsyncDisposableStack()
    const standIn = await startStandIn((request, res) => {
      const { model }: { model: string } = JSON.parse(request.body.toString())
      if (model === 'silent') return
      res.writeHead(200, { 'content-type': 'text/event-stream' })
      const [, first = ''] = streamOf('a')
      let left = model === 'slow' ? 5 : 1
      const timer = setInterval(() => {
        if (left-- > 0) res.write(`data: ${first}\n\n`)
        else if (model === 'slow') res.end('data: [DONE]\n\n')
      }, 400)
      res.once('close', () => clearInterval(timer))
    })
    stack.defer(() => standIn.close())
    const flags = ['--first-byte-timeout', '1.5', '--idle-timeout', '1.2', '--connect-timeout', '5']
    const server = await startServer(home, standIn.baseUrl, flags)
    const post = (model: string) =>
      fetch(`${server.url}/v1/chat/completions`, {
        method: 'POST',
        body: JSON.stringify({ model, stream: true, messages: [{ role: 'user', content: 'hi' }] }),
      }).then(async (reply) => ({ status: reply.status, text: await reply.text() }))
    const [slow, silent, halting] = await Promise.allSettled([post('slow'), post('silent'), post('halting')])
    expect(slow).toMatchObject({ value: { status: 200, text: expect.stringContaining('[DONE]') } })
    expect(silent).toMatchObject({ value: { status: 504, text: expect.stringContaining('in time') } })
    expect(halting.status).toBe('rejected')
    const refused = await home.shadow(['serve', '--idle-timeout', 'long'])
    expect(refused.stderr).toMatch(/"long" is no time/)
  })
})
