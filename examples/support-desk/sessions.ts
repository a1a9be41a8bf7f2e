/** Scripts of support sessions, written by seed: what the customer says in each turn, and the right answer. */
import { type Action, actionLine, outcomes } from './outcomes.ts'
import { Deck, hash32, mulberry32, pick, type Random } from './random.ts'
import { likeCase } from './rule-book.ts'
import { drawValue } from './slots.ts'
import { closings, connectors, corrections, greetings, supplies, typos } from './wordings/follow-ups.ts'
import type { Outcome, Pools, SlotName, Split } from './wordings/wording.ts'

export interface SessionTurn {
  readonly user: string
  /** The rule book's answer. */
  readonly answer: string
  /** The wording it was made from, slots open. */
  readonly wording: string
  readonly action: Action
}

export interface Session {
  /** `train-17`: the same for the same seed. */
  readonly id: string
  readonly split: Split
  readonly turns: readonly SessionTurn[]
}

export interface SessionOptions {
  readonly seed: number
  readonly split: Split
  readonly count: number
}

/** Shares of the world; what a customer does is drawn from them. */
const shares = {
  /** 1.4 turns a session on average. */
  twoTurns: 0.24,
  threeTurns: 0.08,
  /** Of sessions with a second turn: those that forget a value first. */
  bareStart: 0.15,
  /** Of later turns, where there is an order: another wish about it. */
  carried: 0.6,
  /** Of the others, where there is a value: it was wrong. */
  corrected: 0.2,
  greeted: 0.4,
  closed: 0.25,
  typed: 0.12,
  uncapitalised: 0.15,
  /** The same after a greeting that ends with a comma. */
  uncapitalisedInside: 0.7,
}

/** The first `count` sessions of a split; asking for more only adds to them. No opening request comes twice. */
export function writeSessions({ seed, split, count }: SessionOptions): Session[] {
  const writer = new SessionWriter(split, mulberry32(hash32('sessions', seed, split)))
  const openings = new Set<string>()
  const sessions: Session[] = []
  while (sessions.length < count) {
    const turns = writer.write()
    const opening = turns[0]?.user
    if (opening === undefined || openings.has(opening)) continue
    openings.add(opening)
    sessions.push({ id: `${split}-${sessions.length}`, split, turns })
  }
  return sessions
}

class SessionWriter {
  readonly #split: Split
  readonly #random: Random
  readonly #outcomes: Deck<Outcome>
  readonly #bare: Deck<Outcome>
  readonly #wordings = new Map<Pools, Deck<string>>()

  constructor(split: Split, random: Random) {
    this.#split = split
    this.#random = random
    this.#outcomes = new Deck(random, outcomes)
    this.#bare = new Deck(
      random,
      outcomes.filter((outcome) => outcome.bare !== undefined),
    )
  }

  write(): SessionTurn[] {
    const length = this.#random()
    const wanted = length < shares.threeTurns ? 3 : length < shares.threeTurns + shares.twoTurns ? 2 : 1
    const isBare = wanted > 1 && this.#random() < shares.bareStart
    const turns = [isBare ? this.#forget() : this.#ask(null)]
    let order = turns[0]?.action.values.order
    while (turns.length < wanted) {
      const last = turns.at(-1)
      if (last === undefined) break
      const next = turns.length === 1 && isBare ? this.#supply(last.action) : this.#goOn(last.action, order)
      order = next.action.values.order ?? order
      turns.push(next)
    }
    return turns
  }

  /** A later turn: about the same order, a correction, or something else. */
  #goOn(last: Action, order: string | undefined): SessionTurn {
    if (order !== undefined && this.#random() < shares.carried) {
      const others = outcomes.filter(
        (other) => other.carried !== undefined && other.name !== last.outcome.name,
      )
      return this.#carry(pick(this.#random, others), order)
    }
    if (last.outcome.slots.length > 0 && this.#random() < shares.corrected) return this.#correct(last)
    return this.#ask(this.#word(connectors))
  }

  #ask(connector: string | null): SessionTurn {
    const outcome = this.#outcomes.next()
    return this.#turn({ outcome, values: this.#values(outcome) }, this.#word(outcome.asked), connector)
  }

  #forget(): SessionTurn {
    const outcome = this.#bare.next()
    const wording = outcome.bare === undefined ? this.#word(outcome.asked) : this.#word(outcome.bare)
    return this.#turn({ outcome, values: {} }, wording, null)
  }

  #carry(outcome: Outcome, order: string): SessionTurn {
    const wording = outcome.carried === undefined ? this.#word(outcome.asked) : this.#word(outcome.carried)
    return this.#turn({ outcome, values: { ...this.#values(outcome), order } }, wording, '')
  }

  #supply(last: Action): SessionTurn {
    return this.#refill(last, this.#word(supplies))
  }

  #correct(last: Action): SessionTurn {
    return this.#refill(last, this.#word(corrections))
  }

  #refill(last: Action, wording: string): SessionTurn {
    const slot = pick(this.#random, last.outcome.slots)
    const value = this.#value(slot, last.values[slot])
    return this.#turn(
      { outcome: last.outcome, values: { ...last.values, [slot]: value } },
      wording,
      '',
      value,
    )
  }

  #values(outcome: Outcome): Partial<Record<SlotName, string>> {
    return Object.fromEntries(outcome.slots.map((slot) => [slot, this.#value(slot, undefined)]))
  }

  /** A value other than the one given. */
  #value(slot: SlotName, besides: string | undefined): string {
    for (;;) {
      const value = drawValue(slot, this.#split, this.#random)
      if (value !== besides) return value
    }
  }

  #word(pools: Pools): string {
    let deck = this.#wordings.get(pools)
    if (deck === undefined) {
      deck = new Deck(this.#random, pools[this.#split])
      this.#wordings.set(pools, deck)
    }
    return deck.next()
  }

  /** `opening`: null lets a greeting be drawn. */
  #turn(action: Action, wording: string, opening: string | null, value?: string): SessionTurn {
    const random = this.#random
    const greeting = opening ?? (random() < shares.greeted ? this.#word(greetings) : '')
    const small = greeting.endsWith(', ') ? shares.uncapitalisedInside : shares.uncapitalised
    let core = random() < shares.typed ? withTypo(wording, random) : wording
    if (random() < small && !/^(?:\{|I\b)/.test(core)) core = core.charAt(0).toLowerCase() + core.slice(1)
    core = core.replace(/\{(\w+)\}/g, (_, slot: string) => value ?? valueOf(action, slot))
    const closing = random() < shares.closed ? withClosing(core, this.#word(closings)) : core
    return { user: greeting + closing, answer: actionLine(action), wording, action }
  }
}

function valueOf({ outcome, values }: Action, slot: string): string {
  const name = outcome.slots.find((known) => known === slot)
  const value = name === undefined ? undefined : values[name]
  if (value === undefined)
    throw new RangeError(`a wording of ${outcome.name} names ${slot}, which has no value`)
  return value
}

function withClosing(core: string, closing: string): string {
  if (/[.!?]$/.test(core)) return `${core} ${closing}`
  const isSentence = closing.charAt(0) !== closing.charAt(0).toLowerCase()
  return isSentence ? `${core}. ${closing}` : `${core}, ${closing}`
}

/** One known word misspelt, outside the slots; the wording itself where no word is known. */
function withTypo(wording: string, random: Random): string {
  const candidates = typos.flatMap(([word, typo]) =>
    [...wording.matchAll(/(?<![\p{L}'{])[\p{L}']+(?![\p{L}'}])/gu)]
      .filter((match) => match[0].toLowerCase() === word)
      .map((match) => ({ at: match.index, word: match[0], typo })),
  )
  if (candidates.length === 0) return wording
  const { at, word, typo } = pick(random, candidates)
  return wording.slice(0, at) + likeCase(typo, word) + wording.slice(at + word.length)
}
