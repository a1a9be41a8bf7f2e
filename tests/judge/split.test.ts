import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type SplitCall, splitSessions } from '../../judge/split.ts'
import { holdOut } from '../../src/contract/index.ts'

const fifth = holdOut.parse({})

/** One call a second in each of `count` sessions, every prompt its own. */
function callsOf(count: number): SplitCall[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `c${String(index).padStart(4, '0')}`,
    session: `s${index}`,
    startedAt: index,
    promptNode: `p${index}`,
  }))
}

describe('the split', () => {
  it('holds out the newest fifth', () => {
    const split = splitSessions(callsOf(10), fifth)
    expect(split.heldOutSessions).toEqual(['s8', 's9'])
    expect(split.heldOutCalls).toEqual(['c0008', 'c0009'])
    expect(split.trainSessions).toHaveLength(8)
  })

  it('holds out a number of sessions where the task says so', () => {
    expect(splitSessions(callsOf(600), holdOut.parse({ sessions: 150 })).heldOutSessions).toHaveLength(150)
  })

  it('trains on a session that crosses the cut, later calls included', () => {
    const late = { id: 'late', session: 's0', startedAt: 100, promptNode: 'late' }
    const split = splitSessions([...callsOf(10), late], fifth)
    expect(split.trainSessions).toContain('s0')
    expect(split.heldOutCalls).not.toContain('late')
  })

  it('drops copies of training prompts, the late ones of crossing sessions too', () => {
    const calls = callsOf(10).map((call) => (call.id === 'c0009' ? { ...call, promptNode: 'p3' } : call))
    const split = splitSessions(calls, fifth)
    expect(split.dropped).toEqual([{ call: 'c0009', session: 's9', promptNode: 'p3' }])
    expect(split.heldOutSessions).toEqual(['s8'])
    const late = { id: 'late', session: 's0', startedAt: 100, promptNode: 'p9' }
    expect(splitSessions([...callsOf(10), late], fifth).dropped.map(({ call }) => call)).toEqual(['c0009'])
  })

  it('leaves one session to train, and makes none up', () => {
    expect(splitSessions(callsOf(1), fifth)).toMatchObject({ trainSessions: ['s0'], heldOutSessions: [] })
    expect(splitSessions(callsOf(2), holdOut.parse({ sessions: 9 })).trainSessions).toEqual(['s0'])
    expect(splitSessions([], fifth)).toEqual({
      trainSessions: [],
      heldOutSessions: [],
      heldOutCalls: [],
      dropped: [],
    })
  })

  it('keeps its promises for any traffic, in any order', () => {
    const call = fc.record({
      id: fc.uuid(),
      session: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
      startedAt: fc.integer({ min: 0, max: 5 }),
      promptNode: fc.constantFrom('1', '2', '3', '4', '5', '6', '7', '8'),
    })
    fc.assert(
      fc.property(fc.uniqueArray(call, { selector: (one) => one.id, maxLength: 40 }), (calls) => {
        const split = splitSessions(calls, fifth)
        expect(splitSessions(calls.toReversed(), fifth)).toEqual(split)
        const trained = calls.filter((one) => split.trainSessions.includes(one.session))
        const prompts = new Set(trained.map((one) => one.promptNode))
        for (const id of split.heldOutCalls) {
          const held = calls.find((one) => one.id === id)
          expect(held !== undefined && !prompts.has(held.promptNode)).toBe(true)
          expect(split.trainSessions).not.toContain(held?.session)
        }
        expect(trained.length + split.heldOutCalls.length + split.dropped.length).toBe(calls.length)
      }),
    )
  })
})
