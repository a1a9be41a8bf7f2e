import { expect, test } from 'vitest'
import { type SessionNode, textOf } from '../../src/contract/index.ts'
import { useHome } from '../support/home.ts'
import { recordCall, startStore } from '../support/store.ts'

const system = { role: 'system', content: 'You book flights.' }
const user = (content: string) => ({ role: 'user', content })
const said = (content: string) => ({ role: 'assistant', content })

const outline = ({ messages, asked, repliedTo, children }: SessionNode): unknown[] => [
  messages.map((message) => textOf(message)).join(),
  asked.length,
  repliedTo.length,
  ...children.map(outline),
]

async function sessionOfAllKinds() {
  const set = await startStore()
  const { store } = set
  const session = 'run-7'
  const first = [system, user('To Oslo.')]
  const long = `Which day of the ${'long '.repeat(20)} week?`
  await recordCall(store, { messages: first, replies: [said('Which seat?')], session, status: 'truncated' })
  const asked = await recordCall(store, { messages: first, replies: [said(long)], session })
  const next = [...first, said(long), user('Monday.')]
  const booked = await recordCall(store, {
    messages: next,
    replies: [said('Booked.'), said('Done.')],
    session,
  })
  const other = { messages: [...first, said(long), user('Friday.')], replies: [said('Full.')], session }
  await recordCall(store, other)
  const compacted = await recordCall(store, {
    messages: [system, user('[elided]'), said('Booked.'), user('Thanks.')],
    replies: [said('Welcome.')],
    session,
  })
  const sub = { session, agent: 'search', parentAgent: 'main' }
  await recordCall(store, { messages: first, replies: [said('Searching.')], ...sub })
  const picture = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }
  await recordCall(store, {
    messages: [{ role: 'user', content: [{ type: 'text', text: 'What\u001b[2J is it?' }, picture] }],
    replies: [],
    session,
    status: 'upstream_error',
  })
  return { set, asked, booked, compacted }
}

test('a session is the tree of its messages: siblings, branches, continuations, agents', async () => {
  const { set, booked, compacted } = await sessionOfAllKinds()
  await using _ = set
  const { session, calls, roots } = await set.reader.sessionTree('run-7')
  expect(session).toMatchObject({ label: 'run-7', calls: 7 })
  expect(roots.map(({ agent }) => agent)).toEqual([null, 'search', null])
  const [main, search] = roots
  expect(main === undefined ? null : outline(main)).toEqual([
    'You book flights.',
    0,
    0,
    [
      'To Oslo.',
      2,
      0,
      ['Which seat?', 0, 1],
      [
        expect.stringMatching(/^Which day/),
        0,
        1,
        ['Monday.', 1, 0, ['Booked.', 0, 1], ['Done.', 0, 1]],
        ['Friday.', 1, 0, ['Full.', 0, 1]],
      ],
    ],
    ['[elided]', 0, 0, ['Booked.', 0, 0, ['Thanks.', 1, 0, ['Welcome.', 0, 1]]]],
  ])
  expect(search === undefined ? 0 : search.children.length).toBe(1)
  expect(calls.find(({ id }) => id === compacted.id)?.continues).toBe(booked.id)
  expect(calls.map(({ untrainable }) => untrainable)).toEqual([
    'truncated',
    null,
    null,
    null,
    null,
    null,
    'upstream_error',
  ])
  await expect(set.reader.sessionTree('none')).rejects.toMatchObject({ code: 'not_found' })
})

test('the command draws it, and names what a name is not enough for', async () => {
  const { set, booked } = await sessionOfAllKinds()
  await recordCall(set.store, { messages: [user('x')], replies: [said('y')], session: 'twin', task: 'a' })
  await recordCall(set.store, { messages: [user('x')], replies: [said('y')], session: 'twin', task: 'b' })
  await set.store.close()
  await using home = useHome(set.home)
  const { stdout } = await home.shadow(['sessions', 'show', 'run-7'])
  expect(stdout).toMatch(
    /^session [0-9a-f]{32} · called "run-7" · task default · .* · 7 calls · tokens unknown$/m,
  )
  expect(stdout).toMatch(/├─ assistant {2}Which seat\?\n.*truncated \(stop\)/)
  expect(stdout).toContain(`continues ${booked.id} with its history rewritten`)
  expect(stdout).toContain('agent search, started by main')
  expect(stdout).toMatch(/user {7}What \[2J is it\? \[image_url\]\n.*upstream_error.*no reply/)
  const listed = await home.shadow(['sessions', '--json'])
  expect(listed.stdout.trim().split('\n')).toHaveLength(3)
  const json = await home.shadow(['sessions', 'show', 'run-7', '--json'])
  expect(JSON.parse(json.stdout)).toMatchObject({ session: { label: 'run-7' } })
  const twin = await home.shadow(['sessions', 'show', 'twin'])
  expect(twin.stderr).toMatch(/2 sessions are called twin[\s\S]*\(task a\).*\(task b\)/)
})
