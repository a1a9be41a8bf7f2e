/** Random numbers from explicit keys; the same key always gives the same numbers. Never drawn from global state. */
import type { Runtime } from './runtime.ts'
import type { Tensor } from './tensor.ts'

/** A key (uint32, shape [2]) from a non-negative integer seed. */
export function key(runtime: Runtime, seed: number): Tensor {
  return runtime.wrap(runtime.native.randomKey(seed))
}

/** Two independent keys; `from` must not be used again. */
export function split(from: Tensor): [Tensor, Tensor] {
  const [first, second] = from.runtime.native.randomSplit(from.handle)
  return [from.runtime.wrap(first), from.runtime.wrap(second)]
}

/** float32 in [low, high). */
export function uniform(from: Tensor, low: number, high: number, shape: readonly number[]): Tensor {
  return from.runtime.wrap(from.runtime.native.randomUniform(from.handle, low, high, shape))
}

/** float32, standard normal. */
export function normal(from: Tensor, shape: readonly number[]): Tensor {
  return from.runtime.wrap(from.runtime.native.randomNormal(from.handle, shape))
}

/** bool, true with the given probability. */
export function bernoulli(from: Tensor, probability: number, shape: readonly number[]): Tensor {
  return from.runtime.wrap(from.runtime.native.randomBernoulli(from.handle, probability, shape))
}
