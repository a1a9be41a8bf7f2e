/** The desk's outcomes, and the one line that says an outcome: `track_order order: A-4821`. */
import { accountOutcomes } from './wordings/account.ts'
import { moneyOutcomes } from './wordings/money.ts'
import { orderOutcomes } from './wordings/orders.ts'
import { shopOutcomes } from './wordings/shop.ts'
import type { Outcome, SlotName } from './wordings/wording.ts'

export const outcomes: readonly Outcome[] = [
  ...orderOutcomes,
  ...moneyOutcomes,
  ...accountOutcomes,
  ...shopOutcomes,
]

export type SlotValues = Readonly<Partial<Record<SlotName, string>>>

/** What the desk does about a request. */
export interface Action {
  readonly outcome: Outcome
  readonly values: SlotValues
}

/** @throws RangeError for a name that is none of ours */
export function outcomeNamed(name: string): Outcome {
  const found = outcomes.find((outcome) => outcome.name === name)
  if (found === undefined) throw new RangeError(`no outcome is called ${name}`)
  return found
}

/**
 * The answer's one form. A slot nobody named is `?`. Values follow a space, so that a model may copy the
 * very tokens it read.
 */
export function actionLine({ outcome, values }: Action): string {
  const slots = outcome.slots.map((slot) => `${slot}: ${values[slot] ?? '?'}`)
  return slots.length === 0 ? outcome.name : `${outcome.name} ${slots.join(', ')}`
}

/** The outcome this one is taken for, with those values that fit it. */
export function confusedAction({ outcome, values }: Action): Action {
  return { outcome: outcomeNamed(outcome.confusedWith), values }
}
