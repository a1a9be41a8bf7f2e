import { spawnSync } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { dialects } from '../../src/dialects/index.ts'
import { openCaptureReader } from '../../src/store/capture/index.ts'
import { startProxyChild } from '../support/chaos.ts'
import { replyWith, startStandIn } from '../support/stand-in-upstream.ts'
import { temporaryHome } from '../support/store.ts'

const slowMs = 200

/** A library that makes a process's disk bad; null where it can't be made. */
function faultyDisk(folder: string): string | null {
  if (process.platform !== 'linux') return null
  const source = join(import.meta.dirname, '../support/faulty-disk.cc')
  const made = join(folder, 'faulty-disk.so')
  const { status } = spawnSync('g++', ['-shared', '-fPIC', '-O1', '-o', made, source, '-ldl'])
  return status === 0 ? made : null
}

async function askFor(origin: string, content: string): Promise<string> {
  const reply = await fetch(`${origin}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content }] }),
  })
  expect(reply.status).toBe(200)
  await reply.text()
  return reply.headers.get('x-shadow-call') ?? ''
}

test('a disk that is slow delays the calls that it records, and nothing else', async (context) => {
  await using folder = await temporaryHome()
  const library = faultyDisk(folder.home)
  context.skip(library === null, 'needs Linux and g++')
  const standIn = await startStandIn(replyWith(() => 'fine'))
  const proxy = await startProxyChild(folder.home, standIn.baseUrl, {
    LD_PRELOAD: library ?? '',
    SLOW_WRITE_MS: String(slowMs),
  })
  const ask = (client: number) => askFor(proxy.origin, `${client}`)
  // The first one tells that the disk is slow.
  const finished = [await ask(-1)]
  const start = performance.now()
  const asking = Promise.all(
    Array.from({ length: 8 }, async (_, client) => {
      for (let turn = 0; turn < 4; turn++) finished.push(await ask(client * 10 + turn))
    }),
  )
  const looks: number[] = []
  while (performance.now() - start < 4 * slowMs) {
    const before = performance.now()
    await (await fetch(`${proxy.origin}/health`)).text()
    looks.push(performance.now() - before)
  }
  await asking
  // Written one by one they would take 32 times as long as one.
  expect(performance.now() - start).toBeLessThan(20 * slowMs)
  expect(looks.toSorted((a, b) => a - b)[Math.floor(looks.length / 2)]).toBeLessThan(slowMs / 2)
  const metrics = await (await fetch(`${proxy.origin}/metrics`)).text()
  expect(Number(/^shadow_journal_slow_writes_total (\d+)$/m.exec(metrics)?.[1])).toBe(1)
  await proxy.kill()
  await standIn.close()
  const reader = await openCaptureReader(folder.home, dialects)
  const stored = new Set((await reader.callsOfTask('default')).map(({ id }) => id))
  await reader.close()
  expect(finished.filter((id) => !stored.has(id))).toEqual([])
})

test('while the disk is read-only agents are served and calls counted; capture goes on when it is not', async (context) => {
  await using folder = await temporaryHome()
  const library = faultyDisk(folder.home)
  context.skip(library === null, 'needs Linux and g++')
  const home = join(folder.home, 'home')
  const sign = join(folder.home, 'read-only')
  const standIn = await startStandIn(replyWith(() => 'fine'))
  const proxy = await startProxyChild(home, standIn.baseUrl, {
    LD_PRELOAD: library ?? '',
    READ_ONLY_WHILE: sign,
  })
  const health = async () =>
    z
      .object({ captured: z.number(), notCaptured: z.number(), status: z.string() })
      .parse(await (await fetch(`${proxy.origin}/health`)).json())
  const before = [await askFor(proxy.origin, 'a'), await askFor(proxy.origin, 'b')]
  await writeFile(sign, '')
  for (const each of ['c', 'd', 'e']) await askFor(proxy.origin, each)
  expect(await health()).toEqual({ captured: 2, notCaptured: 3, status: 'degraded' })
  await rm(sign)
  const after = [await askFor(proxy.origin, 'f'), await askFor(proxy.origin, 'g')]
  expect(await health()).toEqual({ captured: 4, notCaptured: 3, status: 'degraded' })
  await proxy.kill()
  await standIn.close()
  const reader = await openCaptureReader(home, dialects)
  expect((await reader.callsOfTask('default')).map(({ id }) => id)).toEqual([...before, ...after])
  await reader.close()
})
