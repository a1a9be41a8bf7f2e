/**
 * Judges by kind. Listwise compares the replies of a group in one call; pointwise scores one reply by itself.
 *
 * How to add one: write `judge/judges/<kind>.ts` that exports a `Judge`, add its kind to `verdict.kind` in the
 * contract and to `Judge` in `judge.ts`, then add it to `judges` below and say in `judgeFor` when it is used.
 */
import type { Judge } from './judge.ts'
import { listwise } from './listwise.ts'
import { pointwise } from './pointwise.ts'

const judges: Readonly<Record<Judge['kind'], Judge>> = { listwise, pointwise }

/** @param distinctReplies replies that read differently */
export function judgeFor(distinctReplies: number): Judge {
  return distinctReplies > 1 ? judges.listwise : judges.pointwise
}
