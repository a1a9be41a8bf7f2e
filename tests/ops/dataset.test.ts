import { describe, expect, it } from 'vitest'
import type { CapturedCall } from '../../src/contract/call.ts'
import { countTokens } from '../../src/ops/run/collect.ts'
import { heldOutRows } from '../../src/ops/run/dataset.ts'

function call(id: string, change: Partial<CapturedCall> = {}): CapturedCall {
  return {
    id,
    task: 't',
    session: 's1',
    parent: null,
    parentNode: null,
    dialect: 'chat',
    startedAt: 0,
    status: 'complete',
    httpStatus: 200,
    stream: false,
    modelAsked: 'm',
    modelAnswered: 'm',
    servedBy: 'frontier',
    fallbackFrom: null,
    usage: null,
    timings: { firstByteMs: 1, totalMs: 2 },
    error: null,
    promptNode: 'n1',
    messages: [{ role: 'user', content: 'one two' }],
    tools: [],
    replies: [
      { index: 0, node: 'r1', finishReason: 'stop', message: { role: 'assistant', content: 'three' } },
    ],
    ...change,
  }
}

const words = (text: string): number => text.split(/\s+/).filter((word) => word !== '').length

describe('held-out rows', () => {
  it('take the first complete answer of each prompt and session, and imported references where there are', () => {
    const calls = [
      call('a', { status: 'truncated' }),
      call('b'),
      call('c', {
        replies: [
          { index: 0, node: 'r2', finishReason: 'stop', message: { role: 'assistant', content: 'other' } },
        ],
      }),
      call('d', { session: 's2', promptNode: 'n2', messages: [{ role: 'user', content: 'four' }] }),
      call('e', { session: 's3', promptNode: 'n3' }),
    ]
    const rows = heldOutRows(calls, new Set(['a', 'b', 'c', 'd']), (messages) =>
      messages[0]?.content === 'four' ? 'right' : null,
    )
    expect(
      rows.map(({ session, reference, referenceFrom, frontier }) => [
        session,
        reference,
        referenceFrom,
        frontier,
      ]),
    ).toEqual([
      ['session-1', 'three', 'first_reply', 'three'],
      ['session-2', 'right', 'imported', 'three'],
    ])
  })
})

describe('token counts', () => {
  it('count each message once under its prefix, and every call in full', () => {
    const first = call('a')
    const second = call('b', {
      messages: [
        ...first.messages,
        { role: 'assistant', content: 'three' },
        { role: 'user', content: 'four' },
      ],
    })
    expect(countTokens([first, second], words)).toEqual({ tokens: 3 + 5, uniqueTokens: 5 })
  })
})
