/**
 * Operations on tensors: MLX's names in camel case, NumPy's broadcasting. All are lazy and differentiable
 * unless a doc says otherwise. The fused operations of this engine are in ./fused.ts.
 */
import type { ArrayHandle, DType } from '../native/addon.ts'
import type { Tensor } from './tensor.ts'

type Operand = Tensor | number

function handleOf(like: Tensor, operand: Operand): ArrayHandle {
  return typeof operand === 'number' ? like.runtime.scalar(operand).handle : operand.handle
}

export function add(a: Tensor, b: Operand): Tensor {
  return a.runtime.wrap(a.runtime.native.add(a.handle, handleOf(a, b)))
}

export function subtract(a: Tensor, b: Operand): Tensor {
  return a.runtime.wrap(a.runtime.native.subtract(a.handle, handleOf(a, b)))
}

export function multiply(a: Tensor, b: Operand): Tensor {
  return a.runtime.wrap(a.runtime.native.multiply(a.handle, handleOf(a, b)))
}

export function divide(a: Tensor, b: Operand): Tensor {
  return a.runtime.wrap(a.runtime.native.divide(a.handle, handleOf(a, b)))
}

export function maximum(a: Tensor, b: Operand): Tensor {
  return a.runtime.wrap(a.runtime.native.maximum(a.handle, handleOf(a, b)))
}

export function minimum(a: Tensor, b: Operand): Tensor {
  return a.runtime.wrap(a.runtime.native.minimum(a.handle, handleOf(a, b)))
}

export function power(a: Tensor, b: Operand): Tensor {
  return a.runtime.wrap(a.runtime.native.power(a.handle, handleOf(a, b)))
}

/** bool result. */
export function greater(a: Tensor, b: Operand): Tensor {
  return a.runtime.wrap(a.runtime.native.greater(a.handle, handleOf(a, b)))
}

/** bool result. */
export function greaterEqual(a: Tensor, b: Operand): Tensor {
  return a.runtime.wrap(a.runtime.native.greaterEqual(a.handle, handleOf(a, b)))
}

/** bool result. */
export function less(a: Tensor, b: Operand): Tensor {
  return a.runtime.wrap(a.runtime.native.less(a.handle, handleOf(a, b)))
}

/** bool result. */
export function equal(a: Tensor, b: Operand): Tensor {
  return a.runtime.wrap(a.runtime.native.equal(a.handle, handleOf(a, b)))
}

/** a (…, m, k) · b (…, k, n). */
export function matmul(a: Tensor, b: Tensor): Tensor {
  return a.runtime.wrap(a.runtime.native.matmul(a.handle, b.handle))
}

export function negative(x: Tensor): Tensor {
  return x.runtime.wrap(x.runtime.native.negative(x.handle))
}

export function exp(x: Tensor): Tensor {
  return x.runtime.wrap(x.runtime.native.exp(x.handle))
}

export function log(x: Tensor): Tensor {
  return x.runtime.wrap(x.runtime.native.log(x.handle))
}

export function sqrt(x: Tensor): Tensor {
  return x.runtime.wrap(x.runtime.native.sqrt(x.handle))
}

export function rsqrt(x: Tensor): Tensor {
  return x.runtime.wrap(x.runtime.native.rsqrt(x.handle))
}

export function square(x: Tensor): Tensor {
  return x.runtime.wrap(x.runtime.native.square(x.handle))
}

export function abs(x: Tensor): Tensor {
  return x.runtime.wrap(x.runtime.native.abs(x.handle))
}

export function sigmoid(x: Tensor): Tensor {
  return x.runtime.wrap(x.runtime.native.sigmoid(x.handle))
}

export function tanh(x: Tensor): Tensor {
  return x.runtime.wrap(x.runtime.native.tanh(x.handle))
}

export function sin(x: Tensor): Tensor {
  return x.runtime.wrap(x.runtime.native.sin(x.handle))
}

export function cos(x: Tensor): Tensor {
  return x.runtime.wrap(x.runtime.native.cos(x.handle))
}

/** The same value, seen as a constant by derivatives. */
export function stopGradient(x: Tensor): Tensor {
  return x.runtime.wrap(x.runtime.native.stopGradient(x.handle))
}

/**
 * Gradient checkpointing: the same value, for whose derivative all that was computed between `inputs` and `output` is
 * computed again, instead of being kept. Bits do not change: random keys, indices and constants are the same ones.
 * @param inputs every differentiated tensor that `output` depends on, or what lies between the two; others do no harm
 */
export function checkpoint(output: Tensor, inputs: readonly Tensor[]): Tensor {
  const { runtime } = output
  return runtime.wrap(
    runtime.native.checkpoint(
      output.handle,
      inputs.map(({ handle }) => handle),
    ),
  )
}

export function contiguous(x: Tensor): Tensor {
  return x.runtime.wrap(x.runtime.native.contiguous(x.handle))
}

export interface ReduceOptions {
  /** Default: all of them. */
  axes?: readonly number[]
  keepDims?: boolean
}

export function sum(x: Tensor, { axes = [], keepDims = false }: ReduceOptions = {}): Tensor {
  return x.runtime.wrap(x.runtime.native.sum(x.handle, axes, keepDims))
}

export function mean(x: Tensor, { axes = [], keepDims = false }: ReduceOptions = {}): Tensor {
  return x.runtime.wrap(x.runtime.native.mean(x.handle, axes, keepDims))
}

export function max(x: Tensor, { axes = [], keepDims = false }: ReduceOptions = {}): Tensor {
  return x.runtime.wrap(x.runtime.native.max(x.handle, axes, keepDims))
}

export function logsumexp(x: Tensor, { axes = [], keepDims = false }: ReduceOptions = {}): Tensor {
  return x.runtime.wrap(x.runtime.native.logsumexp(x.handle, axes, keepDims))
}

/** Over `axis`, default the last. */
export function softmax(x: Tensor, axis = -1): Tensor {
  return x.runtime.wrap(x.runtime.native.softmax(x.handle, [axis], true))
}

/** uint32 result; no derivative. */
export function argmax(x: Tensor, axis = -1): Tensor {
  return x.runtime.wrap(x.runtime.native.argmax(x.handle, axis))
}

export function where(condition: Tensor, yes: Operand, no: Operand): Tensor {
  const { runtime } = condition
  return runtime.wrap(
    runtime.native.where(condition.handle, handleOf(condition, yes), handleOf(condition, no)),
  )
}

export function reshape(x: Tensor, shape: readonly number[]): Tensor {
  return x.runtime.wrap(x.runtime.native.reshape(x.handle, shape))
}

/** Without axes: the last two change places. */
export function transpose(x: Tensor, axes?: readonly number[]): Tensor {
  const order = axes ?? swapLastTwo(x.shape.length)
  return x.runtime.wrap(x.runtime.native.transpose(x.handle, order))
}

function swapLastTwo(count: number): number[] {
  const order = Array.from({ length: count }, (_, axis) => axis)
  return [...order.slice(0, -2), count - 1, count - 2]
}

export function broadcastTo(x: Tensor, shape: readonly number[]): Tensor {
  return x.runtime.wrap(x.runtime.native.broadcastTo(x.handle, shape))
}

/** x[start[0]:stop[0], start[1]:stop[1], …]; one pair for each axis. */
export function slice(x: Tensor, start: readonly number[], stop: readonly number[]): Tensor {
  return x.runtime.wrap(x.runtime.native.slice(x.handle, start, stop))
}

export function concatenate(tensors: readonly [Tensor, ...Tensor[]], axis = 0): Tensor {
  const { runtime } = tensors[0]
  return runtime.wrap(
    runtime.native.concatenate(
      tensors.map((tensor) => tensor.handle),
      axis,
    ),
  )
}

/** Rows (or what lies along `axis`) at int32 `indices`. */
export function take(x: Tensor, indices: Tensor, axis = 0): Tensor {
  return x.runtime.wrap(x.runtime.native.take(x.handle, indices.handle, axis))
}

export function takeAlongAxis(x: Tensor, indices: Tensor, axis = -1): Tensor {
  return x.runtime.wrap(x.runtime.native.takeAlongAxis(x.handle, indices.handle, axis))
}

export function astype(x: Tensor, dtype: DType): Tensor {
  return x.runtime.wrap(x.runtime.native.astype(x.handle, dtype))
}
