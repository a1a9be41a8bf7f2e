/** A proxy that is killed again and again under load, and what its clients and its store know afterwards. */
import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { lastUserText } from '../../src/contract/index.ts'
import { dialects } from '../../src/dialects/index.ts'
import { openCaptureReader } from '../../src/store/capture/index.ts'
import { replyWith, startStandIn } from './stand-in-upstream.ts'

const childFile = join(import.meta.dirname, 'proxy-child.ts')

export interface ProxyChild {
  readonly child: ChildProcess
  readonly origin: string
  /** SIGKILL, and the end of the process. */
  kill(): Promise<void>
}

export async function startProxyChild(
  home: string,
  upstream: string,
  env: Record<string, string> = {},
  execArgv: string[] = [],
): Promise<ProxyChild> {
  const child = fork(childFile, {
    env: { ...process.env, STAND_IN: upstream, STORE_HOME: home, ...env },
    execArgv,
  })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const origin = await originOf(child)
  return {
    child,
    origin,
    kill: () => {
      child.kill('SIGKILL')
      return ended
    },
  }
}

export function originOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once('message', (message) => {
      resolve(`http://127.0.0.1:${z.object({ port: z.number() }).parse(message).port}`)
    })
    child.once('exit', (code) => reject(new Error(`the proxy ended with code ${code}`)))
  })
}

/** Keeps asking until the proxy dies; adds the ids of the calls whose replies ended here. */
export async function askUntilDead(origin: string, client: string, finished: string[] = []): Promise<void> {
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
      return
    }
  }
}

export interface KillReport {
  readonly kills: number
  /** Replies that ended at a client. */
  readonly finished: number
  /** Of these, calls that are not on record as complete. */
  readonly lost: string[]
  /** Calls on record whose reply is not the one that their question had. */
  readonly wrong: string[]
}

/** @param clients that ask at the same time, each its next question when its last is answered */
export async function killUnderLoad(
  home: string,
  kills: number,
  clients = 8,
  onKill: (kill: number, finished: number) => void = () => {},
): Promise<KillReport> {
  const standIn = await startStandIn(replyWith(({ messages }) => `to ${String(messages[0]?.content)}`))
  const finished: string[] = []
  for (let kill = 0; kill < kills; kill++) {
    const proxy = await startProxyChild(home, standIn.baseUrl)
    const ended: string[] = []
    const asking = Array.from({ length: clients }, (_, client) =>
      askUntilDead(proxy.origin, `${kill} ${client}`, ended),
    )
    // From the first reply to some hundreds, and so at any place of a transaction or a checkpoint.
    const enough = 1 + ((kill * 37) % 120)
    while (ended.length < enough) await sleep(2)
    await proxy.kill()
    await Promise.all(asking)
    finished.push(...ended)
    standIn.seen.length = 0
    onKill(kill + 1, finished.length)
  }
  await standIn.close()
  const reader = await openCaptureReader(home, dialects)
  const statuses = new Map<string, string>()
  const wrong: string[] = []
  for (const call of await reader.callsOfTask('default')) {
    statuses.set(call.id, call.status)
    const asked = lastUserText(call.messages)
    const isRight = call.replies.every(({ message }) => message.content === `to ${asked}`)
    if (call.status === 'complete' && !isRight) wrong.push(call.id)
  }
  await reader.close()
  const lost = finished.filter((id) => statuses.get(id) !== 'complete')
  return { kills, finished: finished.length, lost, wrong }
}
