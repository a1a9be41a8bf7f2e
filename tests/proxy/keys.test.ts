import { readdir, readFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { createApi } from '../../src/http/api.ts'
import { createKey, listKeys, revokeKey } from '../../src/ops/keys.ts'
import { serve } from '../../src/ops/serve.ts'
import { KeyTable } from '../../src/ops/serving/key-table.ts'
import { openPipelineStore } from '../../src/store/pipeline/pipeline-store.ts'
import { startProxy } from '../support/proxy.ts'
import { chatRequest, sendRaw } from '../support/raw-http.ts'
import { type Answer, startStandIn } from '../support/stand-in-upstream.ts'
import { temporaryHome } from '../support/store.ts'

/** A running server reads the keys once a second. */
const settled = { timeout: 5_000 }

const hi = { model: 'm', messages: [{ role: 'user' as const, content: 'hi' }] }

async function startKeyed(isRequired = true, answer?: Answer) {
  const folder = await temporaryHome()
  const pipeline = await openPipelineStore(folder.home)
  const workspace = { home: folder.home, cache: folder.home, pipeline, [Symbol.asyncDispose]: pipeline.close }
  const table = new KeyTable(pipeline, isRequired)
  await table.start()
  const shadow = await startProxy({ options: { access: table }, ...(answer === undefined ? {} : { answer }) })
  return {
    ...shadow,
    workspace,
    post: (headers: Record<string, string>, path = '/v1/chat/completions') =>
      fetch(`${shadow.origin}${path}`, { method: 'POST', headers, body: JSON.stringify(hi) }),
    async [Symbol.asyncDispose]() {
      table.close()
      await shadow[Symbol.asyncDispose]()
      await pipeline.close()
      await folder[Symbol.asyncDispose]()
    },
  }
}

test('where a key is asked for, nothing goes without one, and a key is shown once and kept as a hash', async () => {
  await using shadow = await startKeyed()
  const { secret } = await createKey(shadow.workspace, 'laptop', [])
  await expect.poll(async () => (await shadow.post({ 'x-shadow-key': secret })).status, settled).toBe(200)
  for (const header of ['x-shadow-key', 'x-api-key', 'api-key']) {
    expect((await shadow.post({ [header]: secret })).status).toBe(200)
  }
  expect((await shadow.post({ authorization: `Bearer ${secret}` })).status).toBe(200)
  for (const headers of [{}, { authorization: 'Bearer sk-x' }, { 'x-shadow-key': `${secret}x` }]) {
    const refused = await shadow.post(headers)
    expect([refused.status, JSON.parse(await refused.text()).error.code]).toEqual([401, 'missing_key'])
  }
  expect((await fetch(`${shadow.origin}/metrics`)).status).toBe(401)
  expect((await fetch(`${shadow.origin}/health`)).status).toBe(200)
  expect((await shadow.post({}, '/v1/anything')).status).toBe(401)
  for (const { rawHeaders } of shadow.standIn.seen) expect(rawHeaders.join()).not.toContain(secret)
  await shadow.store.close()
  for (const home of [shadow.home, shadow.workspace.home]) {
    for (const entry of await readdir(home, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      expect((await readFile(join(entry.parentPath, entry.name))).includes(secret)).toBe(false)
    }
  }
})

test('a revoked key is refused, in the server that runs', async () => {
  await using shadow = await startKeyed()
  const { secret } = await createKey(shadow.workspace, 'laptop', [])
  await expect(createKey(shadow.workspace, 'laptop', [])).rejects.toMatchObject({ code: 'conflict' })
  await expect.poll(async () => (await shadow.post({ 'x-shadow-key': secret })).status, settled).toBe(200)
  await revokeKey(shadow.workspace, 'laptop')
  await expect
    .poll(async () => (await shadow.post({ 'x-shadow-key': secret })).status, { timeout: 5000 })
    .toBe(401)
  await expect(revokeKey(shadow.workspace, 'laptop')).rejects.toMatchObject({ code: 'not_found' })
  expect((await listKeys(shadow.workspace))[0]?.revokedAt).toBeGreaterThan(0)
})

test('a key for one task stands for it, and opens no other', async () => {
  await using shadow = await startKeyed()
  const one = (await createKey(shadow.workspace, 'one', ['billing'])).secret
  const two = (await createKey(shadow.workspace, 'two', ['billing', 'triage'])).secret
  await expect.poll(async () => (await shadow.post({ 'x-shadow-key': two })).status, settled).toBe(403)
  expect((await shadow.post({ 'x-shadow-key': one })).status).toBe(200)
  expect((await shadow.post({ 'x-shadow-key': one, 'x-task': 'triage' })).status).toBe(403)
  const elsewhere = await shadow.post({ 'x-shadow-key': one }, '/tasks/triage/v1/chat/completions')
  expect(elsewhere.status).toBe(403)
  const named = await shadow.post({ 'x-shadow-key': two }, '/tasks/triage/v1/chat/completions')
  expect(named.status).toBe(200)
  expect((await shadow.reader.listCalls({ order: 'oldest' })).map(({ task }) => task)).toEqual([
    'billing',
    'triage',
  ])
})

test('two keys in front of one upstream key are two users', async () => {
  await using shadow = await startKeyed(false)
  const secrets = [
    (await createKey(shadow.workspace, 'a', [])).secret,
    (await createKey(shadow.workspace, 'b', [])).secret,
  ]
  await expect
    .poll(async () => (await shadow.post({ 'x-shadow-key': secrets[1] ?? '' })).status, settled)
    .toBe(200)
  for (const secret of secrets) await shadow.post({ 'x-shadow-key': secret, 'x-session-id': 's' })
  const sessions = (await shadow.reader.listCalls({ limit: 2 })).map(({ session }) => session)
  expect(new Set(sessions).size).toBe(2)
})

test('a page of another site is refused, one of this machine is not', async () => {
  await using shadow = await startKeyed(false)
  expect((await shadow.post({ origin: 'https://elsewhere.example' })).status).toBe(403)
  expect((await shadow.post({ origin: 'http://localhost:3000' })).status).toBe(200)
  expect((await shadow.post({ origin: 'null' })).status).toBe(200)
  const twice = ['Origin: https://elsewhere.example', 'Origin: http://localhost:3000']
  for (const headers of [twice, twice.toReversed()]) {
    const { head } = await sendRaw(shadow.origin, chatRequest(JSON.stringify(hi), headers))
    expect(head).toMatch(/^HTTP\/1\.1 403 /)
  }
})

test.each([
  ['0.0.0.0', false, 401],
  ['0.0.0.0', true, 200],
  ['127.0.0.1', false, 200],
] as const)(
  'listening on %s, insecure %s, a call without a key is answered %i',
  async (host, isInsecure, status) => {
    await using folder = await temporaryHome()
    const pipeline = await openPipelineStore(folder.home)
    const workspace = {
      home: folder.home,
      cache: folder.home,
      pipeline,
      [Symbol.asyncDispose]: pipeline.close,
    }
    const standIn = await startStandIn()
    const server = await serve(workspace, {
      host,
      port: 0,
      isInsecure,
      upstream: { baseUrl: standIn.baseUrl, apiKey: null },
      capturing: 'available',
      synchronous: 'normal',
      log: pino({ level: 'silent' }),
      api: createApi,
    })
    const reply = await fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify(hi),
    })
    expect(reply.status).toBe(status)
    await server.close()
    await standIn.close()
    await pipeline.close()
  },
)

test('a WebSocket comes through the same door', async () => {
  await using shadow = await startKeyed(true, (_request, res) => void res.end('no WebSocket here'))
  const { secret } = await createKey(shadow.workspace, 'laptop', [])
  const { hostname, port } = new URL(shadow.origin)
  const upgrade = (headers: Record<string, string>) =>
    new Promise<number>((resolve, reject) => {
      const req = request({
        hostname,
        port,
        path: '/v1/realtime?model=m',
        headers: { connection: 'Upgrade', upgrade: 'websocket', ...headers },
      })
      req.once('response', (res) => {
        res.resume()
        resolve(res.statusCode ?? 0)
      })
      req.once('upgrade', (res, socket) => {
        socket.destroy()
        resolve(res.statusCode ?? 0)
      })
      req.once('error', reject)
      req.end()
    })
  expect(await upgrade({})).toBe(401)
  expect(await upgrade({ 'x-shadow-key': `${secret}x` })).toBe(401)
  expect(shadow.standIn.seen).toEqual([])
  await expect
    .poll(() => upgrade({ 'x-shadow-key': secret, authorization: 'Bearer sk-agent' }), settled)
    .toBe(200)
  const sent = shadow.standIn.seen.map(({ rawHeaders }) => rawHeaders.join('\n')).join('\n')
  expect(sent).toContain('sk-agent')
  expect(sent).not.toContain(secret)
})

test('a page of another site opens no WebSocket without a key', async () => {
  await using shadow = await startKeyed(false)
  const { hostname, port } = new URL(shadow.origin)
  const status = await new Promise<number>((resolve, reject) => {
    const headers = { connection: 'Upgrade', upgrade: 'websocket', origin: 'https://elsewhere.example' }
    const req = request({ hostname, port, path: '/v1/realtime', headers })
    req.once('response', (res) => {
      res.resume()
      resolve(res.statusCode ?? 0)
    })
    req.once('error', reject)
    req.end()
  })
  expect(status).toBe(403)
})
