/** How a safetensors file is laid out when it is written: as the reference implementation does it. */
import { encodeBF16, encodeF16, encodeF32 } from './ggml-encode.ts'

/** The types that are written; the reference puts tensors in the order of `rank`, then of their names. */
export const safetensorsTypes = {
  F32: { rank: 2, bytes: 4, encode: encodeF32 },
  BF16: { rank: 1, bytes: 2, encode: encodeBF16 },
  F16: { rank: 0, bytes: 2, encode: encodeF16 },
} as const

export type SafetensorsType = keyof typeof safetensorsTypes

/** A stored type where it is one that is written, else float32. */
export function writtenAs(storedAs: string | undefined): SafetensorsType {
  return storedAs === 'F16' || storedAs === 'BF16' ? storedAs : 'F32'
}

/** @returns the header's bytes, and the tensors in the order of their data */
export function layOut<T extends { readonly shape: readonly number[] }>(
  tensors: ReadonlyMap<string, T>,
  typeOf: (tensor: T) => SafetensorsType,
  metadata: Readonly<Record<string, string>>,
): { header: Buffer; ordered: readonly { tensor: T; type: SafetensorsType }[] } {
  const ordered = [...tensors]
    .map(([name, tensor]) => ({ name, tensor, type: typeOf(tensor) }))
    .toSorted(
      (a, b) => safetensorsTypes[b.type].rank - safetensorsTypes[a.type].rank || compareBytes(a.name, b.name),
    )
  let position = 0
  const entries = ordered.map(({ name, tensor, type }): [string, unknown] => {
    const start = position
    position += tensor.shape.reduce((product, size) => product * size, safetensorsTypes[type].bytes)
    return [name, { dtype: type, shape: tensor.shape, data_offsets: [start, position] }]
  })
  const described = Object.keys(metadata).length > 0 ? [['__metadata__', metadata], ...entries] : entries
  const json = Buffer.from(JSON.stringify(Object.fromEntries(described)))
  // Padded with blanks, so that the data is aligned to 8 bytes.
  const header = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ')
  header.writeBigUInt64LE(BigInt(header.length - 8))
  json.copy(header, 8)
  return { header, ordered }
}

function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
