/**
 * The training methods by name. How to add one: a file in `methods/` that turns dataset rows into token rows
 * (and, for methods with another loss, names it), a member of `TrainConfig.method`, and a line here. Listing
 * the methods loads no native code.
 */
import { cpt } from './methods/cpt.ts'
import { sft } from './methods/sft.ts'
import type { Method } from './methods/method.ts'
import type { TrainConfig } from '../src/contract/train-config.ts'

export const methods: Readonly<Record<TrainConfig['method'], Method>> = { sft, cpt }
