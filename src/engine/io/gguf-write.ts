/** Writing GGUF files (version 3, little-endian), tensor by tensor. */
import { ShadowError } from '../../lib/error.ts'
import { writePieces } from './export-file.ts'
import { encodeF16, encodeF32, encodeQ8_0 } from './ggml-encode.ts'
import type { GgufValue } from './gguf-file.ts'
import type { StoredTensor } from './stored-tensor.ts'

const alignment = 32

const types = {
  F32: { id: 0, blockElements: 1, blockBytes: 4, encode: encodeF32 },
  F16: { id: 1, blockElements: 1, blockBytes: 2, encode: encodeF16 },
  Q8_0: { id: 8, blockElements: 32, blockBytes: 34, encode: encodeQ8_0 },
} as const

/** A type that GGUF files are written in. */
export type GgufWriteType = keyof typeof types

export interface GgufTensorToWrite extends Pick<StoredTensor, 'shape' | 'read'> {
  /** The name in the file. */
  readonly name: string
  readonly type: GgufWriteType
  /** Bytes of that type to be written as they are, instead of `read()` encoded. */
  readonly raw?: () => Uint8Array
}

/** llama.cpp looks values up by type, and these are floats even where they are whole numbers. */
const floatKeys = /(epsilon|freq_base|scale|factor|alpha|softcapping|temperature)$/

/** Blocks of `type` have to fill the rows. */
export function fitsBlocks(shape: readonly number[], type: GgufWriteType): boolean {
  return (shape.at(-1) ?? 0) % types[type].blockElements === 0
}

/**
 * Writes a GGUF file; numbers of the metadata become uint32 or float32 by what llama.cpp expects of their
 * key. The same content always gives the same bytes.
 * @throws ShadowError `invalid_request` for a shape that the type cannot hold, `store_failed`
 */
export async function writeGguf(
  path: string,
  metadata: ReadonlyMap<string, GgufValue>,
  tensors: readonly GgufTensorToWrite[],
): Promise<void> {
  const head = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(metadata.size)]
  for (const [key, value] of metadata) head.push(text(key), ...valueBytes(key, value))
  let offset = 0
  for (const { name, shape, type } of tensors) {
    if (!fitsBlocks(shape, type))
      throw new ShadowError('invalid_request', `${name} (${shape.join('×')}) cannot be written as ${type}.`)
    head.push(text(name), u32(shape.length))
    for (const size of shape.toReversed()) head.push(u64(size))
    head.push(u32(types[type].id), u64(offset))
    offset = padded(offset + byteLength(shape, type))
  }
  const header = Buffer.concat(head)
  await writePieces(path, pieces())

  function* pieces(): Generator<Uint8Array> {
    yield header
    yield Buffer.alloc(padded(header.length) - header.length)
    for (const { shape, type, raw, read } of tensors) {
      const bytes = raw?.() ?? types[type].encode(read())
      yield bytes
      yield Buffer.alloc(padded(byteLength(shape, type)) - bytes.length)
    }
  }
}

function byteLength(shape: readonly number[], type: GgufWriteType): number {
  const { blockElements, blockBytes } = types[type]
  return (shape.reduce((product, size) => product * size, 1) / blockElements) * blockBytes
}

function padded(length: number): number {
  return Math.ceil(length / alignment) * alignment
}

/** Type id and value. */
function valueBytes(key: string, value: GgufValue): Buffer[] {
  if (typeof value === 'string') return [u32(8), text(value)]
  if (typeof value === 'boolean') return [u32(7), Buffer.of(value ? 1 : 0)]
  if (typeof value === 'bigint') return value < 0n ? [u32(11), u64(value)] : [u32(10), u64(value)]
  if (typeof value === 'number') {
    if (floatKeys.test(key) || !Number.isInteger(value))
      return [u32(6), Buffer.from(Float32Array.of(value).buffer)]
    return value < 0 ? [u32(5), Buffer.from(Int32Array.of(value).buffer)] : [u32(4), u32(value)]
  }
  if (Array.isArray(value)) return [u32(9), u32(8), u64(value.length), ...value.map(text)]
  return [
    u32(9),
    u32(arrayType(value)),
    u64(value.length),
    Buffer.from(value.buffer, value.byteOffset, value.byteLength),
  ]
}

function arrayType(value: Exclude<GgufValue, number | bigint | boolean | string | string[]>): number {
  if (value instanceof Uint8Array) return 0
  if (value instanceof Int8Array) return 1
  if (value instanceof Uint16Array) return 2
  if (value instanceof Int16Array) return 3
  if (value instanceof Uint32Array) return 4
  if (value instanceof Int32Array) return 5
  if (value instanceof Float32Array) return 6
  if (value instanceof BigUint64Array) return 10
  if (value instanceof BigInt64Array) return 11
  return 12
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([u64(bytes.length), bytes])
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)))
  return bytes
}
