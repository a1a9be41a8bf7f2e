/** The row order of query and key matrices in GGUF files of the Llama family. */

/**
 * Undoes the row order of `convert_hf_to_gguf.py`: within a head of D rows, the file's rows 2i and 2i+1 are
 * the rows i and i + D/2 that the rotate-half form of rope expects.
 * @param data (heads · D, columns), row-major
 */
export function unpermuteRows(
  data: Float32Array<ArrayBuffer>,
  rows: number,
  heads: number,
): Float32Array<ArrayBuffer>
export function unpermuteRows(
  data: Uint32Array<ArrayBuffer>,
  rows: number,
  heads: number,
): Uint32Array<ArrayBuffer>
export function unpermuteRows(
  data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>,
  rows: number,
  heads: number,
): Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> {
  const columns = data.length / rows
  const headRows = rows / heads
  const out = data.slice()
  for (let row = 0; row < rows; row++) {
    const inHead = row % headRows
    const target = row - inHead + (inHead >> 1) + (inHead & 1) * (headRows / 2)
    out.set(data.subarray(row * columns, (row + 1) * columns), target * columns)
  }
  return out
}

/** The inverse of `unpermuteRows`: rotate-half order → the order of GGUF files. */
export function permuteRows(
  data: Float32Array<ArrayBuffer>,
  rows: number,
  heads: number,
): Float32Array<ArrayBuffer> {
  const columns = data.length / rows
  const headRows = rows / heads
  const out = new Float32Array(data.length)
  for (let row = 0; row < rows; row++) {
    const inHead = row % headRows
    const source = row - inHead + (inHead >> 1) + (inHead & 1) * (headRows / 2)
    out.set(data.subarray(source * columns, (source + 1) * columns), row * columns)
  }
  return out
}
