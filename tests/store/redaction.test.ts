import fc from 'fast-check'
import { expect, test } from 'vitest'
import { redaction, redactionKind, type RedactedCounts } from '../../src/contract/index.ts'
import { redactorFor } from '../../src/ops/serving/redaction-table.ts'
import { checkCapture } from '../../src/store/capture/index.ts'
import { Redactor } from '../../src/store/redaction/redactor.ts'
import { dialects } from '../../src/dialects/index.ts'
import { filesWith } from '../support/grep-home.ts'
import { testHome } from '../support/home.ts'
import { startProxy } from '../support/proxy.ts'
import { replyWith } from '../support/stand-in-upstream.ts'

const all = new Redactor(redaction.parse({ kinds: redactionKind.options }))

test.each([
  ['write to jane.doe+x@mail.example.co.uk, please', 'write to [redacted:email], please'],
  ['at münchen@exämple.de', 'at [redacted:email]'],
  [
    'call +49 30 901820 or (415) 555-2671 or 415.555.2671',
    'call [redacted:phone] or [redacted:phone] or [redacted:phone]',
  ],
  [
    'card 4111 1111 1111 1111, not 4111 1111 1111 1112',
    'card [redacted:credit_card], not 4111 1111 1111 1112',
  ],
  ['IBAN DE89 3704 0044 0532 0130 00 / GB82WEST12345698765432', 'IBAN [redacted:iban] / [redacted:iban]'],
  ['DE88 3704 0044 0532 0130 00 has a wrong check', 'DE88 3704 0044 0532 0130 00 has a wrong check'],
  ['from 203.0.113.7 and 2001:db8::1, at 12:30:45', 'from [redacted:ip] and [redacted:ip], at 12:30:45'],
  ['299.1.1.1 and 1.2.3.4.5 are none', '299.1.1.1 and 1.2.3.4.5 are none'],
  ['SSN 078-05-1120, not 000-12-3456', 'SSN [redacted:us_ssn], not 000-12-3456'],
  [`key sk-proj-${'a1'.repeat(12)} AKIAIOSFODNN7EXAMPLE`, 'key [redacted:api_key] [redacted:api_key]'],
  ['on 2026-11-24 version 1.2.3 of 10,000 at 12345', 'on 2026-11-24 version 1.2.3 of 10,000 at 12345'],
])('%s', (text, expected) => {
  expect(all.text(text, {})).toBe(expected)
})

test('in JSON only what is said changes: keys, structure and pictures stay as they are', () => {
  const picture = 'iVBORw0KGgo'.repeat(40)
  const document = {
    model: 'm',
    messages: [
      {
        role: 'user',
        content: [{ type: 'text', text: 'a "b" a@b.org\n' }, { url: `data:image/png;base64,${picture}` }],
      },
    ],
    'a@b.org': 4111111111111111,
    tool: JSON.stringify({ to: 'a@b.org' }),
  }
  const counts: RedactedCounts = {}
  const withUser = redactorFor(
    redaction.parse({ kinds: ['email', 'credit_card'] }),
    redaction.parse({ patterns: [{ name: 'word', pattern: 'user|b"' }] }),
  )
  const text = Buffer.from(withUser?.json(Buffer.from(JSON.stringify(document)), counts) ?? []).toString()
  expect(JSON.parse(text)).toEqual({
    model: 'm',
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a "[redacted:word] [redacted:email]\n' },
          { url: `data:image/png;base64,${picture}` },
        ],
      },
    ],
    'a@b.org': '[redacted:credit_card]',
    tool: JSON.stringify({ to: '[redacted:email]' }),
  })
  expect(counts).toEqual({ email: 2, credit_card: 1, word: 1 })
})

test('what models and users name in objects of their own is no structure', () => {
  const redactor = redactorFor(
    redaction.parse({ patterns: [{ name: 'staff', pattern: 'EMP-\\d+' }] }),
    redaction.parse({}),
  )
  const staff = { id: 'EMP-1', list: [{ status: 'EMP-2', type: ['EMP-3'] }], n: 1 }
  const use = (input: object) => ({ type: 'tool_use', id: 'EMP-4', input, model: 'EMP-5' })
  const document = (own: object) => ({
    metadata: { id: own },
    input: [{ role: 'user', id: 'EMP-6', content: [use(own), use({ input: own })] }, { id: 'EMP-7' }],
    id: 'EMP-8',
  })
  const text = Buffer.from(redactor?.json(Buffer.from(JSON.stringify(document(staff), null, 1)), {}) ?? [])
  const gone = '[redacted:staff]'
  const left = { id: gone, list: [{ status: gone, type: [gone] }], n: 1 }
  expect(JSON.parse(text.toString())).toEqual(document(left))
})

test('whatever the document, it stays one, and its bytes stay the same where nothing is found', () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      const bytes = Buffer.from(text)
      const counts: RedactedCounts = {}
      const redacted = all.json(bytes, counts)
      if (Object.keys(counts).length === 0) expect(redacted).toBe(bytes)
      JSON.parse(Buffer.from(redacted).toString())
    }),
    { numRuns: 300 },
  )
})

test('no text makes a pattern slow, a user’s own neither', () => {
  expect(redaction.safeParse({ patterns: [{ name: 'x', pattern: '(a)\\1' }] }).success).toBe(false)
  expect(redaction.safeParse({ patterns: [{ name: 'x', pattern: '(' }] }).success).toBe(false)
  const own = new Redactor(
    redaction.parse({
      patterns: [
        { name: 'x', pattern: '^(a+)+$' },
        { name: 'y', pattern: '(x+x+)+y' },
      ],
    }),
  )
  const hostile = ['a', 'x', '1', '1 ', '4-', 'a.', 'A1', ':', 'a@', 'eyJ', '(4', '+1 ', 'é']
  const timeOf = (redactor: Redactor, text: string) => {
    const before = process.threadCpuUsage().user
    redactor.text(text, {})
    return (process.threadCpuUsage().user - before) / 1000
  }
  for (const piece of hostile) {
    const text = `${piece.repeat(Math.ceil(100_000 / piece.length))}!`
    expect([piece, timeOf(all, text) < 600]).toEqual([piece, true])
    expect([piece, timeOf(own, text) < 600]).toEqual([piece, true])
  }
})

test('the agent and the upstream see all of it, the files nothing', async () => {
  const redactor = redactorFor(redaction.parse({ kinds: ['email', 'phone'] }))
  await using set = await startProxy({
    answer: replyWith(() => 'Mail ann@example.org or +49 30 901820.'),
    options: { redaction: { redactorOf: (task) => (task === 'open' ? null : redactor) } },
  })
  const messages = [{ role: 'user' as const, content: 'I am bob@example.org' }]
  const headers = { 'x-session-id': 'bob@example.org' }
  const client = set.client('/v1', headers)
  const reply = await client.chat.completions.create({ model: 'm', messages })
  expect(reply.choices[0]?.message.content).toBe('Mail ann@example.org or +49 30 901820.')
  expect(JSON.stringify(set.standIn.seen.map(({ body }) => String(body)))).toContain('bob@example.org')
  const answer = { role: 'assistant' as const, content: 'Mail ann@example.org or +49 30 901820.' }
  const streamed = await client.chat.completions.create({
    model: 'm',
    messages: [...messages, answer, { role: 'user', content: 'Thanks.' }],
    stream: true,
  })
  for await (const _ of streamed) {
  }
  const calls = await set.reader.callsOfTask('default')
  expect(calls.map(({ redacted, parent }) => [redacted, parent])).toEqual([
    [{ email: 3, phone: 1 }, null],
    [{ email: 4, phone: 2 }, calls[0]?.id],
  ])
  expect(calls[1]?.messages[1]?.content).toBe('Mail [redacted:email] or [redacted:phone].')
  expect(Buffer.from(await set.reader.requestBytes(calls[0]?.id ?? '')).toString()).toContain(
    'I am [redacted:email]',
  )
  expect((await set.reader.listSessions())[0]?.label).toBe('[redacted:email]')
  for (const text of ['ann@', 'bob@', '901820']) expect(await filesWith(set.home, text)).toEqual([])
  expect(checkCapture(set.home, dialects).flatMap(({ damage }) => damage)).toEqual([])

  await set.client('/tasks/open/v1').chat.completions.create({ model: 'm', messages })
  expect((await set.reader.callsOfTask('open'))[0]).toMatchObject({ redacted: null, messages })
})

test('a reply’s id that holds what is taken out is written nowhere, and still names the reply', async () => {
  const redactor = redactorFor(redaction.parse({ kinds: ['email'] }))
  const id = 'resp_ann@example.org'
  await using set = await startProxy({
    answer: (_, res) => {
      const content = [{ type: 'output_text', text: 'Well.' }]
      res.writeHead(200, { 'content-type': 'application/json' })
      res.end(JSON.stringify({ id, model: 'm', output: [{ type: 'message', role: 'assistant', content }] }))
    },
    options: { redaction: { redactorOf: () => redactor } },
  })
  const ask = async (more: object) => {
    const body = JSON.stringify({ model: 'm', input: 'And?', ...more })
    const reply = await fetch(`${set.origin}/v1/responses`, { method: 'POST', body })
    await reply.text()
    return reply.headers.get('x-shadow-call') ?? ''
  }
  const first = await ask({})
  const second = await ask({ previous_response_id: id })
  expect(await set.reader.readCall(second)).toMatchObject({ parent: first })
  expect(await filesWith(set.home, 'ann@')).toEqual([])
})

test('the settings are checked', async () => {
  await using home = await testHome()
  const bad = await home.shadow(['store', 'set', 'redaction.patterns=[{"name":"x","pattern":"(a)\\\\1"}]'])
  expect({ code: bad.code, stderr: bad.stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(/linear time/),
  })
  const good = await home.shadow(['tasks', 'set', 'x', 'redaction.kinds=["email","iban"]'])
  expect(good.code).toBe(0)
})
