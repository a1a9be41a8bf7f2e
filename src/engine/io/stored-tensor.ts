/** A tensor in a file, decoded when it is asked for. */
export interface StoredTensor {
  /** Row-major, outermost first. */
  readonly shape: readonly number[]
  /** How the file stores it: `F32`, `Q4_1`, … */
  readonly storedAs: string
  /** Reads and decodes the tensor; each call reads again, so that one tensor is in memory at a time. */
  read(): Float32Array<ArrayBuffer>
}
