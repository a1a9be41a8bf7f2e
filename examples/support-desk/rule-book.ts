/**
 * The rule book: what the desk has to answer, decided from what the customer said and nothing else. It
 * reads requests by their wordings, after taking off the small talk and undoing known typos; what it does
 * not know goes to a person. The desk's own earlier answers are not looked at: they may have been wrong.
 */
import { type Action, actionLine, outcomeNamed, outcomes, type SlotValues } from './outcomes.ts'
import { slotPatterns } from './slots.ts'
import { closings, connectors, corrections, greetings, supplies, typos } from './wordings/follow-ups.ts'
import type { Outcome, Pools, SlotName } from './wordings/wording.ts'

interface Rule {
  readonly kind: 'asked' | 'carried' | 'value'
  /** Null for `value`: the outcome is the one under discussion. */
  readonly outcome: Outcome | null
  readonly pattern: RegExp
}

export interface RuleBook {
  /**
   * The right answer to the last of these user messages.
   *
   * @throws RangeError when there is none
   */
  answer(userTurns: readonly string[]): string
  /** The same as an action, for those who want to be wrong about it. */
  decide(userTurns: readonly string[]): Action
}

/** Reads one message into what it asks, given what the conversation was about; null when it is not in the book. */
export function createRuleBook(): RuleBook {
  const rules = compileRules()

  function decide(userTurns: readonly string[]): Action {
    if (userTurns.length === 0) throw new RangeError('a conversation without a user message has no answer')
    let current: Action | null = null
    let order: string | undefined
    for (const turn of userTurns) {
      current = readTurn(rules, turn, current, order)
      order = current.values.order ?? order
    }
    return current ?? handoff()
  }

  return { decide, answer: (userTurns) => actionLine(decide(userTurns)) }
}

function readTurn(
  rules: readonly Rule[],
  turn: string,
  current: Action | null,
  order: string | undefined,
): Action {
  const text = plainRequest(turn)
  for (const rule of rules) {
    const match = rule.pattern.exec(text)
    if (match === null) continue
    const named: SlotValues = { ...match.groups }
    if (rule.kind === 'asked' && rule.outcome !== null) return { outcome: rule.outcome, values: named }
    if (rule.kind === 'carried' && rule.outcome !== null) {
      return { outcome: rule.outcome, values: order === undefined ? named : { order, ...named } }
    }
    const value = match.groups?.['value']
    if (rule.kind !== 'value' || current === null || value === undefined) continue
    const slot = slotFor(current.outcome, value)
    if (slot !== null) return { outcome: current.outcome, values: { ...current.values, [slot]: value } }
  }
  return handoff()
}

function handoff(): Action {
  return { outcome: outcomeNamed('human_agent'), values: {} }
}

/** The slot of the outcome that such a value can fill. */
function slotFor(outcome: Outcome, value: string): SlotName | null {
  return outcome.slots.find((slot) => new RegExp(`^${slotPatterns[slot]}$`).test(value)) ?? null
}

/** The request itself: no greeting, no closing, no typos, no full stop. */
export function plainRequest(turn: string): string {
  let text = turn.trim()
  const opening = [...allOf(greetings), ...allOf(connectors)].find((words) => text.startsWith(words))
  if (opening !== undefined) text = text.slice(opening.length)
  const ending = allOf(closings).find((words) => text.endsWith(` ${words}`))
  if (ending !== undefined) text = text.slice(0, -ending.length - 1)
  return trimStop(text.replace(/[\p{L}']+/gu, withoutTypo))
}

function trimStop(text: string): string {
  return text.trim().replace(/[.,!?]+$/, '')
}

function withoutTypo(word: string): string {
  const known = typos.find(([, typo]) => typo === word.toLowerCase())
  return known === undefined ? word : likeCase(known[0], word)
}

/** `word` with its first letter as large as the first letter of `model`. */
export function likeCase(word: string, model: string): string {
  const first = model.charAt(0)
  return first === first.toLowerCase() ? word : word.charAt(0).toUpperCase() + word.slice(1)
}

function compileRules(): Rule[] {
  const rules: Rule[] = []
  for (const outcome of outcomes) {
    const asked = [...allOf(outcome.asked), ...(outcome.bare === undefined ? [] : allOf(outcome.bare))]
    for (const wording of asked) rules.push({ kind: 'asked', outcome, pattern: patternOf(wording) })
  }
  for (const outcome of outcomes) {
    if (outcome.carried === undefined) continue
    for (const wording of allOf(outcome.carried))
      rules.push({ kind: 'carried', outcome, pattern: patternOf(wording) })
  }
  for (const wording of [...allOf(corrections), ...allOf(supplies)]) {
    rules.push({ kind: 'value', outcome: null, pattern: patternOf(wording) })
  }
  return rules
}

/** The wording as a pattern over a whole request; its first letter may be large or small. */
function patternOf(wording: string): RegExp {
  const parts = trimStop(wording).split(/\{(\w+)\}/)
  const source = parts.map((part, index) => {
    if (index % 2 === 1) return `(?<${part}>${part === 'value' ? anyValue : patternFor(part)})`
    if (index > 0 || part === '') return escaped(part)
    const first = part.charAt(0)
    return `(?:${escaped(first.toLowerCase())}|${escaped(first.toUpperCase())})${escaped(part.slice(1))}`
  })
  return new RegExp(`^${source.join('')}$`, 'u')
}

const anyValue = Object.values(slotPatterns)
  .map((pattern) => `(?:${pattern})`)
  .join('|')

function patternFor(slot: string): string {
  const found = Object.entries(slotPatterns).find(([name]) => name === slot)
  if (found === undefined) throw new RangeError(`a wording names an unknown slot ${slot}`)
  return found[1]
}

function allOf(pools: Pools): string[] {
  return [...pools.train, ...pools.heldout, ...pools.fresh]
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')
}
