import { type ChildProcess, fork, spawn } from 'node:child_process'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { lastUserText } from '../../src/contract/index.ts'
import { dialects } from '../../src/dialects/index.ts'
import { openCaptureReader, openCaptureStore } from '../../src/store/capture/index.ts'
import { replyWith, startStandIn } from '../support/stand-in-upstream.ts'

const childFile = join(import.meta.dirname, '../support/proxy-child.ts')

async function temporaryHome() {
  const home = await mkdtemp(join(tmpdir(), 'shadow-durable-'))
  return { home, [Symbol.asyncDispose]: () => rm(home, { recursive: true, force: true }) }
}

function originOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once('message', (message) => {
      resolve(`http://127.0.0.1:${z.object({ port: z.number() }).parse(message).port}`)
    })
    child.once('exit', (code) => reject(new Error(`the proxy ended with code ${code}`)))
  })
}

function ended(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve) => child.once('exit', resolve))
}

/** Keeps asking until the proxy dies; returns the ids of the calls whose replies ended here. */
async function askUntilDead(origin: string, client: number): Promise<string[]> {
  const finished: string[] = []
  for (let turn = 0; ; turn++) {
    try {
      const reply = await fetch(`${origin}/v1/chat/completions`, {
        method: 'POST',
        body: JSON.stringify({
          model: 'm',
          stream: turn % 2 === 0,
          messages: [{ role: 'user', content: `${client} ${turn}` }],
        }),
      })
      await reply.text()
      finished.push(reply.headers.get('x-shadow-call') ?? '')
    } catch {
      return finished
    }
  }
}

test('no reply that ended at the client is lost when the process is killed under load', async () => {
  await using folder = await temporaryHome()
  const { home } = folder
  const standIn = await startStandIn(replyWith(({ messages }) => `to ${String(messages[0]?.content)}`))
  const finished: string[] = []
  for (let round = 0; round < 6; round++) {
    const child = fork(childFile, { env: { ...process.env, STAND_IN: standIn.baseUrl, STORE_HOME: home } })
    const origin = await originOf(child)
    const clients = Array.from({ length: 8 }, (_, client) => askUntilDead(origin, client))
    await new Promise((resolve) => setTimeout(resolve, 150 + round * 60))
    child.kill('SIGKILL')
    finished.push(...(await Promise.all(clients)).flat())
  }
  await standIn.close()
  expect(finished.length).toBeGreaterThan(30)
  const reader = await openCaptureReader(home, dialects)
  const known = new Map((await reader.callsOfTask('default')).map((call) => [call.id, call]))
  await reader.close()
  expect(finished.filter((id) => known.get(id)?.status !== 'complete')).toEqual([])
  for (const call of known.values()) {
    const asked = lastUserText(call.messages)
    for (const { message } of call.replies) {
      if (call.status === 'complete') expect(message.content).toBe(`to ${asked}`)
    }
  }
})

test('when the disk is full the agent is served, the call counted, and capture goes on when there is room', async () => {
  await using folder = await temporaryHome()
  const standIn = await startStandIn(replyWith(() => 'x'.repeat(20_000)))
  // No file may grow beyond 1,200 blocks of 1,024 bytes; the signal that says so is ignored, as on a full disk.
  const child = spawn(
    'bash',
    ['-c', `trap '' XFSZ; ulimit -f 1200; exec "$0" "$1"`, process.execPath, childFile],
    {
      env: { ...process.env, STAND_IN: standIn.baseUrl, STORE_HOME: folder.home },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    },
  )
  const origin = await originOf(child)
  for (let index = 0; index < 90; index++) {
    const body = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: `${index}` }] })
    const reply = await fetch(`${origin}/v1/chat/completions`, { method: 'POST', body })
    expect([reply.status, (await reply.text()).length > 20_000]).toEqual([200, true])
  }
  const health = z
    .object({ captured: z.number(), notCaptured: z.number(), status: z.string() })
    .parse(await (await fetch(`${origin}/health`)).json())
  expect(health.status).toBe('degraded')
  expect(health.captured).toBeGreaterThan(5)
  expect(health.captured + health.notCaptured).toBe(90)
  const exit = ended(child)
  child.kill('SIGKILL')
  await exit
  await standIn.close()
  const reader = await openCaptureReader(folder.home, dialects)
  expect((await reader.stats()).calls).toBe(health.captured)
  await reader.close()
})

test('another process reads while the server writes', async () => {
  await using folder = await temporaryHome()
  const standIn = await startStandIn()
  const child = fork(childFile, {
    env: { ...process.env, STAND_IN: standIn.baseUrl, STORE_HOME: folder.home },
  })
  const origin = await originOf(child)
  const reader = await openCaptureReader(folder.home, dialects)
  const asked = askUntilDead(origin, 1)
  await expect.poll(async () => (await reader.stats()).calls, { timeout: 10_000 }).toBeGreaterThan(20)
  const exit = ended(child)
  child.kill('SIGKILL')
  await Promise.all([exit, asked])
  await reader.close()
  await standIn.close()
})

test('a home has one writer, and its files are its owner’s alone', async () => {
  await using folder = await temporaryHome()
  const { home } = folder
  const store = await openCaptureStore(home, dialects)
  await expect(openCaptureStore(home, dialects)).rejects.toMatchObject({ code: 'busy' })
  for (const name of await readdir(home, { recursive: true })) {
    const { mode } = await stat(join(home, name))
    expect([name, (mode & 0o077).toString(8)]).toEqual([name, '0'])
  }
  await store.close()
  await (await openCaptureStore(home, dialects)).close()
})

test('nothing captured yet is a clear error', async () => {
  await using folder = await temporaryHome()
  await expect(openCaptureReader(folder.home, dialects)).rejects.toMatchObject({ code: 'no_calls' })
})
