/** Weights for tests and benchmarks: no file, the same for the same seed. */
import type { Weight, WeightSource } from '../nn/weights.ts'
import { multiply } from '../tensor/ops.ts'
import { key, normal, split } from '../tensor/random.ts'
import type { Runtime } from '../tensor/runtime.ts'
import { type Architecture, architectureTensors } from './architecture.ts'

/**
 * Matrices normal with std 0.02, norms 1, biases 0. Each tensor is drawn when it is asked for, with a key of its own,
 * so that the order does not matter.
 */
export class RandomWeights implements WeightSource {
  readonly #runtime: Runtime
  readonly #shapes: ReadonlyMap<string, readonly number[]>
  readonly #names: readonly string[]
  readonly #seed: number
  readonly #normWeight: number

  constructor(runtime: Runtime, architecture: Architecture, seed: number) {
    this.#runtime = runtime
    this.#seed = seed
    this.#shapes = architectureTensors(architecture)
    this.#names = [...this.#shapes.keys()]
    this.#normWeight = 1 - architecture.normOffset
  }

  has(name: string): boolean {
    return this.#shapes.has(name)
  }

  get(name: string): Weight | undefined {
    const shape = this.#shapes.get(name)
    if (shape === undefined) return undefined
    const size = shape.reduce((product, axis) => product * axis, 1)
    if (shape.length === 1)
      return { shape, data: new Float32Array(size).fill(name.endsWith('.bias') ? 0 : this.#normWeight) }
    const data = this.#runtime.tidy(() => {
      const [own] = split(key(this.#runtime, this.#seed * 100_003 + this.#names.indexOf(name)))
      return multiply(normal(own, shape), 0.02).toFloat32Array()
    })
    return { shape, data }
  }
}
