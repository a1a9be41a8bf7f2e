/** Writing safetensors files larger than memory: one tensor is read, encoded and written at a time. */
import { writePieces } from './export-file.ts'
import { layOut, type SafetensorsType, safetensorsTypes, writtenAs } from './safetensors-layout.ts'
import type { StoredTensor } from './stored-tensor.ts'

/**
 * Writes tensors, ordered as the reference implementation orders them.
 * @param type of all of them, or `stored`: each as it is stored, float32 where that is none of the types written
 * @throws ShadowError `store_failed`, or what reading a tensor throws
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Pick<StoredTensor, 'shape' | 'read'> & { readonly storedAs?: string }>,
  type: SafetensorsType | 'stored',
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): Promise<void> {
  const { header, ordered } = layOut(
    tensors,
    ({ storedAs }) => (type === 'stored' ? writtenAs(storedAs) : type),
    metadata,
  )
  await writePieces(path, pieces())

  function* pieces(): Generator<Uint8Array> {
    yield header
    for (const one of ordered) yield safetensorsTypes[one.type].encode(one.tensor.read())
  }
}
