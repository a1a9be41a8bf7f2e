/**
 * Real episodes of an agent that books flights, replayed call by call, each in turn with all the others, and with
 * tool-call ids renumbered as a client would. Where the data isn't there, generated episodes of the same kind.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { seededRandom } from '../../src/lib/random.ts'
import { recordCall, startStore } from '../support/store.ts'

const episodesAtMost = 60

const message = z.looseObject({
  role: z.string(),
  tool_calls: z.array(z.looseObject({ id: z.string() })).nullish(),
  tool_call_id: z.string().nullish(),
})
type Message = z.infer<typeof message>

function episodes(): Message[][] {
  const path = join(
    import.meta.dirname,
    '../../../shared/data/tau-bench-airline/gpt-4o-airline-even-tasks.json',
  )
  if (!existsSync(path)) return generated()
  const recorded = z.array(z.object({ traj: z.array(message) })).parse(JSON.parse(readFileSync(path, 'utf8')))
  return recorded.slice(0, episodesAtMost).map(({ traj }) => traj)
}

/** Openings that many share, tool calls, and answers that differ late. */
function generated(): Message[][] {
  const random = seededRandom(7)
  const pick = (count: number) => Math.floor(random() * count)
  return Array.from({ length: episodesAtMost }, (_, episode) => {
    const turns: Message[] = [{ role: 'system', content: 'You book flights.' }]
    turns.push({ role: 'user', content: `Hello, I need flight ${pick(40)}.` })
    for (let turn = 0; turn < 4 + pick(8); turn++) {
      const id = `call_${episode}_${turn}`
      const made = { id, type: 'function', function: { name: 'find', arguments: `{"seat": ${pick(900)}}` } }
      turns.push(
        { role: 'assistant', content: null, tool_calls: [made] },
        { role: 'tool', tool_call_id: id, name: 'find', content: `${pick(1e6)}` },
        { role: 'assistant', content: `Seat ${pick(1e6)}, is that right?`, tool_calls: null },
        { role: 'user', content: `No ${pick(1e6)}.` },
      )
    }
    return turns
  })
}

/** The history as a client sends it that gives ids and prints arguments its own way. */
function echoed(history: readonly Message[]): Message[] {
  const renamed = new Map<string, string>()
  return history.map((each) => {
    if (Array.isArray(each.tool_calls)) {
      const calls = each.tool_calls.map((call) => {
        renamed.set(call.id, `own-${renamed.size}`)
        return { ...call, id: renamed.get(call.id) ?? call.id }
      })
      return { ...each, content: each['content'] ?? '', tool_calls: calls }
    }
    const { tool_call_id: id } = each
    return id === null || id === undefined ? each : { ...each, tool_call_id: renamed.get(id) ?? id }
  })
}

/** Plays all episodes, a turn of each after the other, and compares what continues what. */
async function replay(withHeaders: boolean) {
  await using set = await startStore()
  const { store, reader } = set
  const players = episodes().map((turns, index) => ({
    turns,
    name: `episode ${index}`,
    at: 0,
    calls: [] as string[],
  }))
  let right = 0
  let found = 0
  let wanted = 0
  for (let isPlaying = true; isPlaying; ) {
    isPlaying = false
    for (const player of players) {
      const next = player.turns.findIndex(({ role }, place) => place >= player.at && role === 'assistant')
      const reply = player.turns[next]
      if (reply === undefined) continue
      isPlaying = true
      const { id, parent } = await recordCall(store, {
        messages: echoed(player.turns.slice(0, next)),
        replies: [reply],
        ...(withHeaders ? { session: player.name } : {}),
      })
      const before = player.calls.at(-1) ?? null
      if (before !== null) wanted++
      if (parent !== null) found++
      if (parent !== null && parent === before) right++
      player.calls.push(id)
      player.at = next + 1
    }
  }
  const trajectories = []
  for (const { id } of await reader.listSessions())
    trajectories.push(...(await reader.trajectoriesOfSession(id)))
  const paths = trajectories.map(({ turns }) => turns.map(({ call }) => call).join())
  const whole = players.filter(({ calls }) => paths.includes(calls.join())).length
  const f1 = (2 * right) / (found + wanted)
  return {
    episodes: players.length,
    whole,
    f1,
    trajectories: trajectories.length,
    stats: await reader.stats(),
  }
}

test('with session headers every episode comes back as its own trajectory, edge by edge', async () => {
  const result = await replay(true)
  expect(result.f1).toBe(1)
  expect(result.whole).toBe(result.episodes)
  expect(result.trajectories).toBe(result.episodes)
  expect(result.stats.uniqueMessages).toBeLessThan(result.stats.totalMessages / 5)
})

test('without any header nearly every edge is found', async () => {
  const result = await replay(false)
  expect(result.f1).toBeGreaterThanOrEqual(0.99)
  expect(result.whole).toBeGreaterThanOrEqual(result.episodes * 0.9)
})
