/** The gated activations of decoder MLPs. */
import { swiglu } from '../tensor/fused.ts'
import { add, multiply, slice, tanh } from '../tensor/ops.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** `silu(x) = x·σ(x)`; `gelu_tanh` is GELU by its tanh formula (arXiv 1606.08415). */
export type Activation = 'silu' | 'gelu_tanh'

const slope = Math.sqrt(2 / Math.PI)

function geluTanh(x: Tensor): Tensor {
  const cubed = multiply(multiply(multiply(x, x), x), 0.044715)
  return multiply(multiply(x, 0.5), add(tanh(multiply(add(x, cubed), slope)), 1))
}

/** act(gate) · up; gateUp (rows, 2n) holds gate, then up, in each row; result (rows, n). */
export function gatedActivation(gateUp: Tensor, activation: Activation): Tensor {
  if (activation === 'silu') return swiglu(gateUp)
  const [rows, columns] = [gateUp.axis(0), gateUp.axis(1)]
  const gate = slice(gateUp, [0, 0], [rows, columns / 2])
  return multiply(geluTanh(gate), slice(gateUp, [0, columns / 2], [rows, columns]))
}
