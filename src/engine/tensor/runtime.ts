/** Owns the addon: makes tensors, evaluates graphs, differentiates, scopes memory. One for each process is usual. */
import {
  type ArrayHandle,
  type DType,
  loadAddon,
  type NativeAddon,
  type NativeMemory,
} from '../native/addon.ts'
import { defaultThreads } from './thread-count.ts'
import { Tensor } from './tensor.ts'

/** Freed buffers that MLX may keep for reuse. More only costs memory once the shapes repeat. */
const defaultCacheBytes = 128 * 1024 * 1024

/** How much of the machine the engine takes. */
export interface RuntimeOptions {
  /** Threads of the kernels and of BLAS. Default: `SHADOW_THREADS`, else the cores this process may use. */
  threads?: number
  /** Freed native memory kept for reuse, in bytes. Default 128 MiB. */
  cacheBytes?: number
}

/** What `tidy` keeps alive: tensors, alone or in lists and plain objects. */
function tensorsIn(value: unknown, found: Set<Tensor> = new Set()): Set<Tensor> {
  if (value instanceof Tensor) found.add(value)
  else if (Array.isArray(value)) for (const item of value) tensorsIn(item, found)
  else if (value instanceof Map) for (const item of value.values()) tensorsIn(item, found)
  else if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype)
    for (const item of Object.values(value)) tensorsIn(item, found)
  return found
}

/**
 * The engine's runtime. Arrays belong to the thread that made them: one Runtime, one thread.
 */
export class Runtime {
  /** The addon's own operations on handles; their errors are ShadowErrors. */
  readonly native: NativeAddon
  readonly #scopes: Set<Tensor>[] = []

  constructor(options: RuntimeOptions = {}) {
    this.native = loadAddon()
    this.native.setCacheLimit(options.cacheBytes ?? defaultCacheBytes)
    this.native.setThreads(options.threads ?? defaultThreads())
  }

  /** Threads of the kernels and of BLAS. */
  get threads(): number {
    return this.native.threads()
  }

  /** Bytes in use, at their peak since the last reset, and cached; weights and graph buffers, not KV caches. */
  memory(): NativeMemory {
    return this.native.memory()
  }

  /** @internal A native result becomes a tensor of the innermost `tidy` scope. */
  wrap(handle: ArrayHandle): Tensor {
    const tensor = new Tensor(this, handle)
    this.#own(tensor)
    return tensor
  }

  /** A float32 tensor with a copy of `data`. Without a shape it has one axis. */
  fromFloat32(data: Float32Array, shape: readonly number[] = [data.length]): Tensor {
    return this.wrap(this.native.fromFloat32(data, shape))
  }

  /** An int32 tensor with a copy of `data`. */
  fromInt32(data: Int32Array | readonly number[], shape: readonly number[] = [data.length]): Tensor {
    return this.wrap(this.native.fromInt32(data, shape))
  }

  /** A tensor with a copy of little-endian elements of `dtype`. */
  fromBytes(data: Uint8Array, shape: readonly number[], dtype: DType): Tensor {
    return this.wrap(this.native.fromBytes(data, shape, dtype))
  }

  /** A float32 tensor without axes. */
  scalar(value: number): Tensor {
    return this.full([], value)
  }

  /** A tensor of one value throughout. */
  full(shape: readonly number[], value: number, dtype: DType = 'float32'): Tensor {
    return this.wrap(this.native.full(shape, value, dtype))
  }

  /** An evaluated tensor of zeros with memory of its own, fit for changes in place. */
  zeros(shape: readonly number[]): Tensor {
    return this.fromFloat32(new Float32Array(shape.reduce((product, size) => product * size, 1)), shape)
  }

  /** Copies the values of evaluated f32 tensors into others of the same sizes, which keep their memory. */
  copyInPlace(into: readonly Tensor[], from: readonly Tensor[]): void {
    const handles = (tensors: readonly Tensor[]) => tensors.map((tensor) => tensor.handle)
    this.native.copyInPlace(handles(into), handles(from))
  }

  /**
   * Runs the graphs of these tensors.
   * @param options.sparing prepare little ahead of the work: less memory is held at a time
   */
  evaluate(tensors: readonly Tensor[], options: { sparing?: boolean } = {}): void {
    const handles = tensors.map((tensor) => tensor.handle)
    this.native.evaluate(handles, options.sparing ?? false)
  }

  /**
   * Frees every tensor made while `body` runs, but for those in its result (alone, or in lists, maps and plain
   * objects). The result belongs to the scope around, if there is one. `body` must not be async.
   */
  tidy<T>(body: () => T): T {
    const scope = new Set<Tensor>()
    this.#scopes.push(scope)
    let kept = new Set<Tensor>()
    try {
      const result = body()
      kept = tensorsIn(result)
      return result
    } finally {
      this.#scopes.pop()
      for (const tensor of scope) {
        if (kept.has(tensor)) this.#own(tensor)
        else tensor.dispose()
      }
    }
  }

  /** Takes tensors out of all scopes: they live until disposed (parameters, optimizer state, caches). */
  keep<T extends Tensor | readonly Tensor[]>(tensors: T): T {
    for (const tensor of tensorsIn(tensors)) {
      for (const scope of this.#scopes) scope.delete(tensor)
      this.native.reportMemory(tensor.handle)
    }
    return tensors
  }

  /**
   * A scope frees what it holds without the garbage collector, which would only be driven to mark the heap by the size
   * of a graph that is gone a moment later: it is told of tensors outside scopes alone.
   */
  #own(tensor: Tensor): void {
    const scope = this.#scopes.at(-1)
    if (scope === undefined) this.native.reportMemory(tensor.handle)
    else scope.add(tensor)
  }

  /**
   * The value of `loss` and its gradient for each parameter, as a graph: evaluate value, auxiliaries and gradients
   * together. `loss` is called once, with stand-ins that it must use in the parameters' place; it returns a
   * scalar, and may return further tensors, which are not differentiated.
   *
   * @returns `gradients` in the order of `parameters`.
   */
  valueAndGrad(
    loss: (parameters: Tensor[]) => { loss: Tensor; auxiliary?: Tensor[] },
    parameters: readonly Tensor[],
  ): { loss: Tensor; auxiliary: Tensor[]; gradients: Tensor[] } {
    let outputs: Tensor[] = []
    const [values, gradients] = this.native.valueAndGrad(
      (handles) => {
        // The intermediates must be gone before evaluation, or no activation could be freed on the way.
        outputs = this.tidy(() => {
          const result = loss(handles.map((handle) => this.wrap(handle)))
          return [result.loss, ...(result.auxiliary ?? [])]
        })
        return outputs.map((tensor) => tensor.handle)
      },
      parameters.map((tensor) => tensor.handle),
    )
    for (const tensor of outputs) tensor.dispose()
    const [first, ...auxiliary] = values.map((handle) => this.wrap(handle))
    if (first === undefined) throw new RangeError('A loss has a value.')
    return { loss: first, auxiliary, gradients: gradients.map((handle) => this.wrap(handle)) }
  }
}
