/** A lazy array of the native library: operations build a graph, reading (or `Runtime.evaluate`) runs it. */
import type { ArrayHandle, DType } from '../native/addon.ts'
import type { Runtime } from './runtime.ts'

/**
 * A tensor. Row-major; the dtype is float32 unless a doc says otherwise.
 *
 * Native memory is freed by `dispose` (or `using`, or the end of the `tidy` scope that made it); the garbage
 * collector frees what was forgotten, later.
 */
export class Tensor implements Disposable {
  /** What made it, and the only one that may compute with it. */
  readonly runtime: Runtime
  /** The addon's name for the array. */
  readonly handle: ArrayHandle

  /** @internal Made by Runtime.wrap only. */
  constructor(runtime: Runtime, handle: ArrayHandle) {
    this.runtime = runtime
    this.handle = handle
  }

  /** Sizes of the axes, outermost first; known without evaluation. */
  get shape(): number[] {
    return this.runtime.native.shape(this.handle)
  }

  /** Of its elements. */
  get dtype(): DType {
    return this.runtime.native.dtype(this.handle)
  }

  /** Elements in all. */
  get size(): number {
    return this.shape.reduce((product, size) => product * size, 1)
  }

  /** The size of one axis; negative counts from the last. */
  axis(index: number): number {
    const size = this.shape.at(index)
    if (size === undefined)
      throw new RangeError(`A tensor of ${this.shape.length} axes has no axis ${index}.`)
    return size
  }

  /** Evaluates and copies out, converting to f32. */
  toFloat32Array(): Float32Array {
    return this.runtime.native.toFloat32(this.handle)
  }

  /** Evaluates and copies out, converting to int32. */
  toInt32Array(): Int32Array {
    return this.runtime.native.toInt32(this.handle)
  }

  /** The value of a tensor with one element. */
  item(): number {
    const values = this.toFloat32Array()
    const first = values[0]
    if (first === undefined || values.length !== 1)
      throw new RangeError(`item() needs one element, this tensor has ${values.length}.`)
    return first
  }

  /** Frees the native array; using the tensor afterwards is an error. Disposing twice is harmless. */
  dispose(): void {
    this.runtime.native.dispose(this.handle)
  }

  /** `dispose`, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}
