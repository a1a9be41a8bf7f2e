/**
 * The safetensors format: a JSON header and raw little-endian tensors. Reading trusts nothing in the file;
 * writing gives the same bytes as the reference implementation.
 */
import { z } from 'zod'
import { damagedFileHint } from './file-problem.ts'
import { FileWindow } from './file-window.ts'
import { decodeBF16, decodeF16, decodeF32 } from './ggml-types.ts'
import { parseJsonObject } from './json-file.ts'
import { layOut, safetensorsTypes, writtenAs } from './safetensors-layout.ts'
import type { StoredTensor } from './stored-tensor.ts'

/** A tensor of a file, in memory. */
export interface TensorData {
  /** Row-major, outermost first. */
  readonly shape: readonly number[]
  /** Its elements, row-major. */
  readonly data: Float32Array
  /** The type in the file that it came from, and that it is written in again. Default F32. */
  readonly storedAs?: 'F16' | 'BF16'
}

/** A tensor read into memory, which remembers how it was stored. */
export function tensorData(stored: StoredTensor): TensorData {
  const { shape, storedAs } = stored
  const data = stored.read()
  return storedAs === 'F16' || storedAs === 'BF16' ? { shape, data, storedAs } : { shape, data }
}

export interface SafetensorsFile extends Disposable {
  /** By name, in the order of the data; decoded to float32 on request. */
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** Free text that came with the file. */
  readonly metadata: Readonly<Record<string, string>>
}

const maxHeaderBytes = 100_000_000
const headerEntry = z.strictObject({
  dtype: z.string(),
  shape: z.array(z.int().nonnegative()),
  data_offsets: z.tuple([z.int().nonnegative(), z.int().nonnegative()]),
})
/** MLX writes null where there is none. */
const metadataEntry = z.record(z.string(), z.string()).nullable()

const elementTypes: ReadonlyMap<
  string,
  { readonly bytes: number; readonly decode?: (source: Uint8Array<ArrayBuffer>) => Float32Array<ArrayBuffer> }
> = new Map([
  ['F64', { bytes: 8 }],
  ['I64', { bytes: 8 }],
  ['U64', { bytes: 8 }],
  ['F32', { bytes: 4, decode: decodeF32 }],
  ['I32', { bytes: 4 }],
  ['U32', { bytes: 4 }],
  ['F16', { bytes: 2, decode: decodeF16 }],
  ['BF16', { bytes: 2, decode: decodeBF16 }],
  ['I16', { bytes: 2 }],
  ['U16', { bytes: 2 }],
  ['I8', { bytes: 1 }],
  ['U8', { bytes: 1 }],
  ['BOOL', { bytes: 1 }],
])

/**
 * Opens a safetensors file; only its header is read. The file stays open until it is disposed of.
 * @throws ShadowError `not_found`, or `invalid_file` naming the file and the field that is wrong
 */
export function openSafetensors(path: string): SafetensorsFile {
  const file = new FileWindow(path)
  try {
    return { ...readHeader(file), [Symbol.dispose]: () => file[Symbol.dispose]() }
  } catch (thrown) {
    file[Symbol.dispose]()
    throw thrown
  }
}

function readHeader(file: FileWindow): Pick<SafetensorsFile, 'tensors' | 'metadata'> {
  const length = file.view(0, 8, 'header length').getBigUint64(0, true)
  if (length > BigInt(Math.min(maxHeaderBytes, file.size - 8)))
    throw file.invalid('header length', `${length} bytes do not fit the file of ${file.size} (truncated?)`)
  const headerBytes = Number(length)
  const json = file.bytes(8, headerBytes, 'header')
  const header = parseJsonObject(file.path, 'header', json, damagedFileHint)
  const dataStart = 8 + headerBytes
  const dataBytes = file.size - dataStart

  let metadata: Record<string, string> = {}
  const entries: [string, z.infer<typeof headerEntry>][] = []
  for (const [name, value] of Object.entries(header)) {
    const parsed = name === '__metadata__' ? metadataEntry.safeParse(value) : headerEntry.safeParse(value)
    if (!parsed.success) throw file.invalid(`header of ${name}`, z.prettifyError(parsed.error))
    if (name === '__metadata__') metadata = metadataEntry.parse(value) ?? {}
    else entries.push([name, headerEntry.parse(value)])
  }
  entries.sort(
    ([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1],
  )

  const tensors = new Map<string, StoredTensor>()
  let position = 0
  for (const [name, { dtype, shape, data_offsets }] of entries) {
    const [start, end] = data_offsets
    const field = `tensor ${name}`
    const type = elementTypes.get(dtype)
    if (type === undefined) throw file.invalid(field, `has the unknown type ${dtype}`)
    if (start !== position || end < start || end > dataBytes)
      throw file.invalid(
        field,
        `its bytes ${start} to ${end} do not continue at ${position} within ${dataBytes} bytes of data (truncated?)`,
      )
    const bytes = shape.reduce((product, size) => product * size, type.bytes)
    if (bytes !== end - start)
      throw file.invalid(field, `the shape ${shape.join('×')} as ${dtype} is not ${end - start} bytes`)
    const read = (): Uint8Array<ArrayBuffer> => file.bytes(dataStart + start, bytes, field)
    tensors.set(name, {
      shape,
      storedAs: dtype,
      read() {
        if (type.decode === undefined)
          throw file.invalid(field, `is stored as ${dtype}, which is not read as float32`)
        return type.decode(read())
      },
      bytes: read,
    })
    position = end
  }
  if (position !== dataBytes)
    throw file.invalid('data', `${dataBytes - position} bytes at the end belong to no tensor`)
  return { tensors, metadata }
}

/**
 * Tensors as a safetensors file, each in the type that it was stored as. The bytes depend on names, shapes, types,
 * values and metadata only, not on the order of the map.
 * @returns the file's bytes
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, TensorData>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const { header, ordered } = layOut(tensors, ({ storedAs }) => writtenAs(storedAs), metadata)
  return Buffer.concat([
    header,
    ...ordered.map(({ tensor, type }) => safetensorsTypes[type].encode(tensor.data)),
  ])
}
