/**
 * Real episodes of an agent that books flights, replayed call by call, each in turn with all the others, and with
 * tool-call ids renumbered as a client would. Where the data isn't there, generated episodes of the same kind.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { seededRandom } from '../../src/lib/random.ts'
import { recordCall, startStore } from './store.ts'

const episodesAtMost = 60

const message = z.looseObject({
  role: z.string(),
  tool_calls: z.array(z.looseObject({ id: z.string() })).nullish(),
  tool_call_id: z.string().nullish(),
})
type Message = z.infer<typeof message>

function episodes(): { source: 'recorded' | 'generated'; played: Message[][] } {
  const path = join(
    import.meta.dirname,
    '../../../shared/data/tau-bench-airline/gpt-4o-airline-even-tasks.json',
  )
  if (!existsSync(path)) return { source: 'generated', played: generated() }
  const recorded = z.array(z.object({ traj: z.array(message) })).parse(JSON.parse(readFileSync(path, 'utf8')))
  return { source: 'recorded', played: recorded.slice(0, episodesAtMost).map(({ traj }) => traj) }
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

/** The history as an agent sends it that keeps it short: old outputs elided, or the early turns summed up. */
function rewritten(history: readonly Message[], random: () => number): Message[] {
  const chance = random()
  const outputs = history.flatMap(({ role }, place) => (role === 'tool' ? [place] : []))
  if (chance < 0.15 && outputs.length > 1) {
    const elided = new Set(outputs.slice(0, -1))
    return history.map((each, place) => (elided.has(place) ? { ...each, content: '[elided]' } : each))
  }
  const asked = history.flatMap(({ role }, place) => (role === 'user' ? [place] : []))
  const middle = asked[Math.floor(asked.length / 2)]
  if (chance < 0.3 && middle !== undefined && asked.length > 3) {
    const system = history.filter(({ role }, place) => role === 'system' && place < middle)
    return [...system, { role: 'user', content: `So far: ${middle} messages.` }, ...history.slice(middle)]
  }
  return [...history]
}

/**
 * Plays all episodes, a turn of each after the other, and compares what continues what: `f1` is over edges, a call
 * and the call that it continues.
 */
export async function replayEpisodes(withHeaders: boolean, isRewriting = false) {
  const random = seededRandom(11)
  await using set = await startStore()
  const { store, reader } = set
  const { source, played } = episodes()
  const players = played.map((turns, index) => ({
    turns,
    name: `episode ${index}`,
    at: 0,
    calls: [] as string[],
  }))
  for (let isPlaying = true; isPlaying; ) {
    isPlaying = false
    for (const player of players) {
      const next = player.turns.findIndex(({ role }, place) => place >= player.at && role === 'assistant')
      const reply = player.turns[next]
      if (reply === undefined) continue
      isPlaying = true
      const history = echoed(player.turns.slice(0, next))
      const messages = isRewriting ? rewritten(history, random) : history
      const about = withHeaders ? { session: player.name } : {}
      // Another attempt at the same turn, of which the agent takes the later.
      if (isRewriting && random() < 0.1) {
        await recordCall(store, {
          messages,
          replies: [{ role: 'assistant', content: 'Not good.' }],
          ...about,
        })
      }
      const { id } = await recordCall(store, { messages, replies: [reply], ...about })
      player.calls.push(id)
      player.at = next + 1
    }
  }
  let right = 0
  let named = 0
  let marked = 0
  let wanted = 0
  const found = new Map((await reader.callsOfTask('default')).map((call) => [call.id, call]))
  for (const { calls } of players) {
    for (const [place, id] of calls.entries()) {
      const { parent = null, continues = null } = found.get(id) ?? {}
      const edge = continues ?? parent
      const before = calls[place - 1] ?? null
      if (continues !== null) marked++
      if (before !== null) wanted++
      if (edge !== null) named++
      if (edge !== null && edge === before) right++
    }
  }
  const trajectories = []
  for (const { id } of await reader.listSessions())
    trajectories.push(...(await reader.trajectoriesOfSession(id)))
  const paths = trajectories.map(({ turns }) => turns.map(({ call }) => call).join())
  const whole = players.filter(({ calls }) => paths.includes(calls.join())).length
  const f1 = (2 * right) / (named + wanted)
  return {
    source,
    episodes: players.length,
    whole,
    f1,
    marked,
    wanted,
    trajectories: trajectories.length,
    stats: await reader.stats(),
  }
}
