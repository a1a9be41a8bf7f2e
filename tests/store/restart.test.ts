import fc from 'fast-check'
import { expect, test } from 'vitest'
import { dialects } from '../../src/dialects/index.ts'
import { checkCapture, openCaptureStore } from '../../src/store/capture/index.ts'
import { startProxy } from '../support/proxy.ts'
import { placedCall, recordCall, temporaryHome } from '../support/store.ts'

const user = (content: string) => ({ role: 'user', content })
const said = (content: string) => ({ role: 'assistant', content })
const long = (text: string) => `${text} ${'and so on '.repeat(12)}`

test('a rewritten history is recognised after the server was started anew', async () => {
  await using folder = await temporaryHome()
  const before = await openCaptureStore(folder.home, dialects)
  const about = { session: 's' }
  await placedCall(before, { messages: [user('one')], replies: [said(long('first'))], ...about })
  const last = await placedCall(before, {
    messages: [user('one'), said(long('first')), user('two')],
    replies: [said(long('second'))],
    ...about,
  })
  await placedCall(before, { messages: [user('other')], replies: [said(long('third'))], session: 't' })
  await before.close()

  const store = await openCaptureStore(folder.home, dialects)
  const elided = [user('[elided]'), said(long('second')), user('three')]
  const marked = await placedCall(store, { messages: elided, replies: [said('x')], ...about })
  expect([marked.parent, marked.continues]).toEqual([null, last.id])
  await store.close()

  const third = await openCaptureStore(folder.home, dialects)
  const summary = [user(`Summary so far: ${long('third')}. Go on.`)]
  const summed = await placedCall(third, { messages: summary, replies: [said('y')], session: 't' })
  expect(summed.continues).not.toBeNull()
  // The same words in a session of its own are no continuation.
  expect((await placedCall(third, { messages: elided, replies: [], session: 'u' })).continues).toBeNull()
  await third.close()
})

test('what goes on from a reply stands below it after the server was started anew', async () => {
  await using shadow = await startProxy({
    answer: (_, res) => {
      const content = [{ type: 'output_text', text: 'Well.' }]
      res.writeHead(200, { 'content-type': 'application/json' })
      const output = [{ type: 'message', role: 'assistant', content }]
      res.end(JSON.stringify({ id: 'resp_1', model: 'm', output }))
    },
  })
  const ask = async (more: object) => {
    const body = JSON.stringify({ model: 'm', input: 'And?', ...more })
    const reply = await fetch(`${shadow.origin}/v1/responses`, { method: 'POST', body })
    await reply.text()
  }
  await ask({})
  await recordCall(shadow.store, { messages: [user('x')], replies: [], task: 'other' })
  // Lets go of the rows that are known by heart, as a start does.
  await shadow.store.delete({ task: 'other' })
  await ask({ previous_response_id: 'resp_1' })
  await ask({ previous_response_id: 'resp_1' })
  // Prompts of one, three and five messages, and their replies.
  expect(await shadow.reader.stats()).toMatchObject({ calls: 3, totalMessages: 1 + 3 + 5 + 3 })
  expect(checkCapture(shadow.home, dialects).flatMap(({ damage }) => damage)).toEqual([])
})

interface Step {
  kind: 'turn' | 'again' | 'compact' | 'agent'
  session: number
  from: number
}

interface Made {
  id: string
  session: number
  agent: string | null
  messages: unknown[]
  reply: { role: string; content: string }
}

test('random runs: retries are siblings, compactions marked, sub-agents roots of their own, sessions never merge', async () => {
  const steps = fc.array(
    fc.record({
      kind: fc.constantFrom<Step['kind']>('turn', 'turn', 'again', 'compact', 'agent'),
      session: fc.nat(2),
      from: fc.nat(20),
    }),
    { minLength: 3, maxLength: 16 },
  )
  await using folder = await temporaryHome()
  let store = await openCaptureStore(folder.home, dialects)
  let run = 0
  await fc.assert(
    fc.asyncProperty(steps, fc.boolean(), async (script, isRestarted) => {
      run++
      const made: Made[] = []
      const expected = new Map<string, { parent: string | null; continues: string | null }>()
      for (const [place, { kind, session, from }] of script.entries()) {
        // In the middle of every second run the server is started anew.
        if (isRestarted && place === Math.floor(script.length / 2)) {
          await store.close()
          store = await openCaptureStore(folder.home, dialects)
        }
        const own = made.filter((each) => each.session === session)
        const base = own[from % Math.max(own.length, 1)]
        const agent = kind === 'agent' ? `agent ${place}` : (base?.agent ?? null)
        const goesOn = base !== undefined && kind !== 'agent'
        // Every session opens with the same words.
        let messages: unknown[] = [user('Hello.')]
        let edge: { parent: string | null; continues: string | null } = { parent: null, continues: null }
        if (goesOn && kind === 'again') {
          messages = base.messages
          edge = expected.get(base.id) ?? edge
        } else if (goesOn && kind === 'turn') {
          messages = [...base.messages, base.reply, user(`next ${place}`)]
          edge = { parent: base.id, continues: null }
        } else if (goesOn && kind === 'compact') {
          messages = [user('[what came before]'), base.reply, user(`on ${place}`)]
          edge = { parent: null, continues: base.id }
        } else if (kind === 'agent')
          messages = [{ role: 'system', content: `You are ${place}.` }, user('Hello.')]
        const reply = said(long(`run ${run} reply ${place}`))
        const about = { session: `run ${run} session ${session}`, ...(agent === null ? {} : { agent }) }
        const call = await placedCall(store, { messages, replies: [reply], ...about })
        expect({ parent: call.parent, continues: call.continues }).toEqual(edge)
        expected.set(call.id, edge)
        made.push({ id: call.id, session, agent, messages, reply })
      }
      for (const session of new Set(made.map((each) => each.session))) {
        const own = made.filter((each) => each.session === session)
        const { calls, roots } = await store.reader.sessionTree(`run ${run} session ${session}`)
        expect(calls.map(({ id }) => id)).toEqual(own.map(({ id }) => id))
        const openings = new Set(own.map(({ agent, messages }) => JSON.stringify([agent, messages[0]])))
        expect(roots).toHaveLength(openings.size)
        const asked = new Map<string, string[]>()
        const visit = (node: (typeof roots)[number]): void => {
          for (const id of node.asked) asked.set(id, node.asked)
          node.children.forEach(visit)
        }
        roots.forEach(visit)
        for (const one of own) {
          const same = own.filter(
            (each) =>
              each.agent === one.agent && JSON.stringify(each.messages) === JSON.stringify(one.messages),
          )
          expect(asked.get(one.id)).toEqual(same.map(({ id }) => id))
        }
      }
    }),
    { numRuns: 25 },
  )
  await store.close()
}, 60_000)
