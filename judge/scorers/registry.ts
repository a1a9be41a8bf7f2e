/**
 * Reference scorers by name: each compares an answer with its right answer, asks nobody and costs nothing.
 *
 * How to add one: write `judge/scorers/<name>.ts` that exports a `Scorer`, add its name to `scorerName` in the
 * contract, and add it to `scorers` below; the compiler says when one of the three is missing.
 */
import type { Scorer, ScorerName } from '../../src/contract/index.ts'
import { contains } from './contains.ts'
import { exact } from './exact.ts'
import { json } from './json.ts'

export const scorers: Readonly<Record<ScorerName, Scorer>> = { exact, contains, json }
