import { type ChildProcess, fork, spawn } from 'node:child_process'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { dialects } from '../../src/dialects/index.ts'
import { openCaptureReader, openCaptureStore } from '../../src/store/capture/index.ts'
import { askUntilDead, killUnderLoad, originOf } from '../support/chaos.ts'
import { replyWith, startStandIn } from '../support/stand-in-upstream.ts'

const childFile = join(import.meta.dirname, '../support/proxy-child.ts')

async function temporaryHome() {
  const home = await mkdtemp(join(tmpdir(), 'shadow-durable-'))
  return { home, [Symbol.asyncDispose]: () => rm(home, { recursive: true, force: true }) }
}

function ended(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve) => child.once('exit', resolve))
}

test('no reply that ended at the client is lost when the process is killed under load', async () => {
  await using folder = await temporaryHome()
  const { finished, lost, wrong } = await killUnderLoad(folder.home, 6)
  expect(finished).toBeGreaterThan(30)
  expect({ lost, wrong }).toEqual({ lost: [], wrong: [] })
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
  const asked = askUntilDead(origin, 'a')
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
