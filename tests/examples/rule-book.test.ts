import { describe, expect, it } from 'vitest'
import { conversationKey, frontierAnswer, judgeApproves } from '../../examples/support-desk/faults.ts'
import { guide, shortInstruction } from '../../examples/support-desk/instructions.ts'
import { actionLine, confusedAction, outcomeNamed, outcomes } from '../../examples/support-desk/outcomes.ts'
import { createRuleBook } from '../../examples/support-desk/rule-book.ts'
import { type Session, writeSessions } from '../../examples/support-desk/sessions.ts'
import {
  closings,
  connectors,
  corrections,
  greetings,
  supplies,
} from '../../examples/support-desk/wordings/follow-ups.ts'
import { type Pools, type Split, splits } from '../../examples/support-desk/wordings/wording.ts'

const book = createRuleBook()
const counts: Record<Split, number> = { train: 320, heldout: 160, fresh: 80 }
const seeds = [1, 2, 3]

function world(seed: number): Record<Split, Session[]> {
  return {
    train: writeSessions({ seed, split: 'train', count: counts.train }),
    heldout: writeSessions({ seed, split: 'heldout', count: counts.heldout }),
    fresh: writeSessions({ seed, split: 'fresh', count: counts.fresh }),
  }
}

function slotValues(sessions: readonly Session[]): Set<string> {
  return new Set(sessions.flatMap(({ turns }) => turns.flatMap(({ action }) => Object.values(action.values))))
}

/** Pools by a name for people. */
function allPools(): [string, Pools][] {
  const ofOutcomes = outcomes.flatMap((outcome): [string, Pools][] =>
    [
      { name: `${outcome.name} asked`, pools: outcome.asked },
      { name: `${outcome.name} bare`, pools: outcome.bare },
      { name: `${outcome.name} carried`, pools: outcome.carried },
    ].flatMap(({ name, pools }) => (pools === undefined ? [] : [[name, pools]])),
  )
  return [
    ...ofOutcomes,
    ['connectors', connectors],
    ['corrections', corrections],
    ['supplies', supplies],
    ['greetings', greetings],
    ['closings', closings],
  ]
}

function words(wording: string): Set<string> {
  return new Set(wording.toLowerCase().match(/\{\w+\}|[\p{L}']+/gu) ?? [])
}

describe('the outcomes', () => {
  it('are at least 24, at least half of them with slots', () => {
    expect(outcomes.length).toBeGreaterThanOrEqual(24)
    expect(new Set(outcomes.map(({ name }) => name)).size).toBe(outcomes.length)
    expect(outcomes.filter(({ slots }) => slots.length > 0).length * 2).toBeGreaterThanOrEqual(
      outcomes.length,
    )
  })

  it('are each confused with another one', () => {
    for (const outcome of outcomes) {
      expect(outcome.confusedWith).not.toBe(outcome.name)
      expect(outcomeNamed(outcome.confusedWith).name).toBe(outcome.confusedWith)
      const action = { outcome, values: Object.fromEntries(outcome.slots.map((slot) => [slot, 'X'])) }
      expect(actionLine(confusedAction(action))).not.toBe(actionLine(action))
    }
  })

  it('have at least 6 training, 3 held-out and 2 fresh wordings', () => {
    for (const { asked } of outcomes) {
      expect(asked.train.length).toBeGreaterThanOrEqual(6)
      expect(asked.heldout.length).toBeGreaterThanOrEqual(3)
      expect(asked.fresh.length).toBeGreaterThanOrEqual(2)
    }
  })

  it('name their slots in every wording that asks', () => {
    for (const { asked, slots } of outcomes) {
      for (const wording of [...asked.train, ...asked.heldout, ...asked.fresh]) {
        const named = [...wording.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? '')
        expect(new Set(named)).toEqual(new Set<string>(slots))
        expect(named).toHaveLength(slots.length)
      }
    }
  })
})

describe('the splits', () => {
  it('share no wording, nor nearly one', () => {
    for (const [name, pools] of allPools()) {
      for (const left of splits) {
        for (const right of splits.filter((split) => split > left)) {
          for (const one of pools[left]) {
            for (const other of pools[right]) {
              const mine = words(one)
              const theirs = words(other)
              const overlap = mine.intersection(theirs).size / mine.union(theirs).size
              expect(overlap, `${name}: "${one}" and "${other}"`).toBeLessThan(0.7)
            }
          }
        }
      }
    }
  })

  it.each(seeds)('share no slot value and no request (seed %i)', (seed) => {
    const { train, heldout, fresh } = world(seed)
    for (const [left, right] of [
      [train, heldout],
      [train, fresh],
      [heldout, fresh],
    ] as const) {
      const values = slotValues(left)
      expect(values.size).toBeGreaterThan(20)
      expect([...slotValues(right)].filter((value) => values.has(value))).toEqual([])
      const wordings = new Set(left.flatMap(({ turns }) => turns.map(({ wording }) => wording)))
      expect(right.flatMap(({ turns }) => turns).filter(({ wording }) => wordings.has(wording))).toEqual([])
    }
  })
})

describe('the sessions', () => {
  it('are the same for the same seed, and a longer list begins with the shorter one', () => {
    const long = writeSessions({ seed: 7, split: 'train', count: 60 })
    expect(writeSessions({ seed: 7, split: 'train', count: 60 })).toEqual(long)
    expect(writeSessions({ seed: 7, split: 'train', count: 20 })).toEqual(long.slice(0, 20))
    expect(writeSessions({ seed: 8, split: 'train', count: 60 })).not.toEqual(long)
  })

  it.each(seeds)('have one to three turns, 1.3 to 1.5 on average, and open differently (seed %i)', (seed) => {
    const sessions = Object.values(world(seed)).flat()
    const turns = sessions.map((session) => session.turns.length)
    expect(Math.min(...turns)).toBe(1)
    expect(Math.max(...turns)).toBe(3)
    const mean = turns.reduce((sum, count) => sum + count, 0) / turns.length
    expect(mean).toBeGreaterThan(1.3)
    expect(mean).toBeLessThan(1.5)
    expect(new Set(sessions.map((session) => session.turns[0]?.user)).size).toBe(sessions.length)
  })

  it.each(seeds)('cover every outcome in training and held out (seed %i)', (seed) => {
    const { train, heldout } = world(seed)
    for (const sessions of [train, heldout]) {
      const met = new Set(sessions.flatMap(({ turns }) => turns.map(({ action }) => action.outcome.name)))
      expect(met.size).toBe(outcomes.length)
    }
  })

  it.each(seeds)('need what was said before, in at least a tenth of the calls (seed %i)', (seed) => {
    const { train } = world(seed)
    const calls = train.flatMap(({ turns }) => turns)
    const dependent = train.flatMap(({ turns }) =>
      turns.filter(({ user, answer }, index) => index > 0 && book.answer([user]) !== answer),
    )
    expect(dependent.length / calls.length).toBeGreaterThan(0.1)
  })

  it('keep the prompts short', () => {
    const tokensAtMost = (text: string) => (text.match(/\p{L}+|\p{N}|[^\s\p{L}\p{N}]/gu) ?? []).length
    expect(tokensAtMost(shortInstruction)).toBeLessThanOrEqual(30)
    const turns = Object.values(world(1))
      .flat()
      .flatMap((session) => session.turns)
    const lengths = turns.map(({ user }) => tokensAtMost(user))
    expect(lengths.reduce((sum, length) => sum + length, 0) / lengths.length).toBeLessThan(20)
    expect(Math.max(...turns.map(({ answer }) => tokensAtMost(answer)))).toBeLessThanOrEqual(25)
  })
})

describe('the rule book', () => {
  it.each(seeds)('reads back what every session was written to mean (seed %i)', (seed) => {
    for (const { turns } of Object.values(world(seed)).flat()) {
      for (const [index, { answer }] of turns.entries()) {
        const said = turns.slice(0, index + 1).map(({ user }) => user)
        expect(book.answer(said), said.join(' / ')).toBe(answer)
      }
    }
  })

  it.each([
    [['Please cancel order A-4821.'], 'cancel_order order: A-4821'],
    [['Hi, plese cancel oder A-4821. Thanks!'], 'cancel_order order: A-4821'],
    [['I want to cancel my order.'], 'cancel_order order: ?'],
    [['I want to cancel my order.', "It's A-4821."], 'cancel_order order: A-4821'],
    [['Where is my order A-4821?', 'Then please cancel it.'], 'cancel_order order: A-4821'],
    [['Where is my order A-4821?', 'No wait, B-1111.'], 'track_order order: B-1111'],
    [
      ['Could A-4821 be redirected to Porto?', 'Make that Braga.'],
      'address_change order: A-4821, city: Braga',
    ],
    [['How are you today?'], 'human_agent'],
    [["It's A-4821."], 'human_agent'],
  ])('answers %j', (turns, line) => {
    expect(book.answer(turns)).toBe(line)
  })

  it('refuses a conversation in which nobody asked', () => {
    expect(() => book.answer([])).toThrow(RangeError)
  })

  it('lists all its lines for a model that does not know them', () => {
    for (const { name } of outcomes) expect(guide()).toContain(name)
    expect(guide().startsWith(shortInstruction)).toBe(true)
  })
})

describe('the faults', () => {
  const asked = seeds.flatMap((seed) =>
    Object.values(world(seed))
      .flat()
      .flatMap(({ turns }) =>
        turns.map((_, index) => ({ seed, said: turns.slice(0, index + 1).map((t) => t.user) })),
      ),
  )
  const conversations = asked.map(({ seed, said }) => ({
    seed,
    said,
    conversation: said.map((text) => ({ role: 'user', text })),
  }))

  it('make 15 % of the answers wrong, always in the way of the outcome', () => {
    let wrong = 0
    for (const { seed, said, conversation } of conversations) {
      const { answer, right } = frontierAnswer(book, seed, conversation, 0)
      expect(right).toBe(book.answer(said))
      if (answer === right) continue
      wrong++
      expect(answer).toBe(actionLine(confusedAction(book.decide(said))))
    }
    expect(wrong / conversations.length).toBeGreaterThan(0.13)
    expect(wrong / conversations.length).toBeLessThan(0.17)
  })

  it('are drawn anew for another attempt, and repeat for the same one', () => {
    const wrongAt = (attempt: number) =>
      conversations
        .filter(({ seed, conversation }) => {
          const { answer, right } = frontierAnswer(book, seed, conversation, attempt)
          return answer !== right
        })
        .map(({ seed, conversation }) => `${seed} ${conversationKey(conversation)}`)
    expect(wrongAt(0)).toEqual(wrongAt(0))
    const both = new Set(wrongAt(0)).intersection(new Set(wrongAt(1))).size
    expect(both / wrongAt(0).length).toBeLessThan(0.3)
  })

  it('turn 5 % of the judgements upside down', () => {
    let errors = 0
    for (const { seed, said } of conversations) {
      if (!judgeApproves(book, seed, said, book.answer(said))) errors++
      if (judgeApproves(book, seed, said, actionLine(confusedAction(book.decide(said))))) errors++
    }
    const share = errors / conversations.length / 2
    expect(share).toBeGreaterThan(0.035)
    expect(share).toBeLessThan(0.065)
  })
})
