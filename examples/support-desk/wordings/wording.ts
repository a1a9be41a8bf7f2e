/**
 * How an outcome of the desk is asked for. `{slot}` stands for a value that the answer copies.
 *
 * The three pools never share a wording: `train` is what the captured training sessions say, `heldout` what
 * the held-out sessions say, `fresh` what is said after the takeover. They ask for the same work in other
 * words.
 */
export type Split = 'train' | 'heldout' | 'fresh'

export const splits: readonly Split[] = ['train', 'heldout', 'fresh']

export type Pools = Readonly<Record<Split, readonly string[]>>

export type SlotName = 'order' | 'city' | 'date' | 'amount' | 'email' | 'product'

export interface Outcome {
  readonly name: string
  /** In the order in which the answer names them. */
  readonly slots: readonly SlotName[]
  /** What the stand-in frontier answers instead when it is wrong. */
  readonly confusedWith: string
  /** Requests that name every slot. */
  readonly asked: Pools
  /** Requests that leave the outcome's only slot out; the answer then says `?`, and the customer supplies it. */
  readonly bare?: Pools
  /** Later requests about the order that the conversation is about already. */
  readonly carried?: Pools
}
