/** Writing safetensors files larger than memory: one tensor is read, encoded and written at a time. */
import { writePieces } from './export-file.ts'
import { encodeBF16, encodeF16, encodeF32 } from './ggml-encode.ts'
import type { StoredTensor } from './stored-tensor.ts'

const types = {
  F32: { bytes: 4, encode: encodeF32 },
  F16: { bytes: 2, encode: encodeF16 },
  BF16: { bytes: 2, encode: encodeBF16 },
} as const

export type SafetensorsType = keyof typeof types

/**
 * Writes tensors, all of one type, ordered by name as the reference implementation orders them.
 * @throws ShadowError `store_failed`, or what reading a tensor throws
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Pick<StoredTensor, 'shape' | 'read'>>,
  type: SafetensorsType,
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): Promise<void> {
  const { bytes, encode } = types[type]
  const sorted = [...tensors].toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  let position = 0
  const entries = sorted.map(([name, { shape }]) => {
    const start = position
    position += shape.reduce((product, size) => product * size, bytes)
    return [name, { dtype: type, shape, data_offsets: [start, position] }] as const
  })
  const json = Buffer.from(JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) }))
  const header = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ')
  header.writeBigUInt64LE(BigInt(header.length - 8))
  json.copy(header, 8)
  await writePieces(path, pieces())

  function* pieces(): Generator<Uint8Array> {
    yield header
    for (const [, tensor] of sorted) yield encode(tensor.read())
  }
}
