/** What the LM head costs: fused with the cross-entropy where it is frozen, in plain operations where it is trained. */
import type { FrozenMatrix } from '../tensor/frozen-matrix.ts'
import { linearCrossEntropy } from '../tensor/fused.ts'
import { logsumexp, matmul, reshape, subtract, take, takeAlongAxis, transpose } from '../tensor/ops.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { AdapterView } from './adapter-view.ts'

export interface Targets {
  /** The row of `hidden` that predicts each target, (n). */
  from: Int32Array
  /** Token ids, (n). */
  targets: Int32Array
}

/**
 * −log softmax(hidden[from[i]]·headᵀ)[targets[i]], (n), in nats. A trained head keeps n × vocabulary logits until the
 * gradient is done; a frozen one keeps none.
 * @param gradient whether derivatives will be asked for
 */
export function headLoss(
  hidden: Tensor,
  head: FrozenMatrix,
  { from, targets }: Targets,
  view: AdapterView | null,
  gradient: boolean,
): Tensor {
  const { runtime } = hidden
  const [rows, ids] = [runtime.fromInt32(from), runtime.fromInt32(targets)]
  const trained = view?.weights?.get(head.tensor)
  if (trained === undefined) return linearCrossEntropy(hidden, head, rows, ids, gradient)
  const logits = matmul(take(hidden, rows), transpose(trained))
  const chosen = takeAlongAxis(logits, reshape(ids, [targets.length, 1]), 1)
  return subtract(logsumexp(logits, { axes: [1] }), reshape(chosen, [targets.length]))
}
