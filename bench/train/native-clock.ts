/** Measures how much of a time was spent inside the addon; the rest is JavaScript. */
import type { Runtime } from '../../src/engine/index.ts'

export class NativeClock {
  #inside = false
  #since = 0
  #totalMs = 0

  /** Every native function of the runtime is timed from here on. */
  constructor(runtime: Runtime) {
    const functions = new Map<PropertyKey, unknown>()
    const timed = new Proxy(runtime.native, {
      get: (target, key) => {
        const known = functions.get(key)
        if (known !== undefined) return known
        const native: unknown = Reflect.get(target, key)
        if (typeof native !== 'function') return native
        const call = (...args: unknown[]): unknown => {
          this.#cross(true)
          try {
            return Reflect.apply(
              native,
              target,
              args.map((arg) => this.#callback(arg)),
            )
          } finally {
            this.#cross(false)
          }
        }
        functions.set(key, call)
        return call
      },
    })
    Object.defineProperty(runtime, 'native', { value: timed })
  }

  reset(): void {
    this.#totalMs = 0
  }

  get nativeMs(): number {
    return this.#totalMs
  }

  /** What native code calls back is JavaScript again. */
  #callback(argument: unknown): unknown {
    if (typeof argument !== 'function') return argument
    return (...args: unknown[]): unknown => {
      this.#cross(false)
      try {
        return Reflect.apply(argument, undefined, args)
      } finally {
        this.#cross(true)
      }
    }
  }

  /** JavaScript calls native code, which may call JavaScript back: each crossing ends one side's turn. */
  #cross(inside: boolean): void {
    const now = performance.now()
    if (this.#inside) this.#totalMs += now - this.#since
    this.#inside = inside
    this.#since = now
  }
}
