/**
 * The container format GGUF (versions 2 and 3, little-endian): metadata and tensor infos, read from files
 * that nobody vouches for. Every count, length and offset is checked against the file's size before it is
 * used, so that a hostile file costs a typed error and no more memory than its own size.
 */
import type { FileWindow } from './file-window.ts'
import { type GgmlType, ggmlTypes } from './ggml-types.ts'

/** Numbers that may exceed 2^53 are bigint; arrays of numbers are typed arrays. */
export type GgufValue = number | bigint | boolean | string | string[] | GgufNumbers
type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | BigUint64Array
  | BigInt64Array
  | Float64Array

export interface GgufTensor {
  readonly name: string
  /** Row-major, outermost first (the reverse of the file's order): `[rows, columns]`. */
  readonly shape: readonly number[]
  readonly type: GgmlType
  /** Absolute position of the first byte. */
  readonly start: number
  readonly bytes: number
}

export interface GgufHeader {
  readonly metadata: ReadonlyMap<string, GgufValue>
  readonly tensors: ReadonlyMap<string, GgufTensor>
}

const magic = 0x46554747
const stringType = 8
const arrayType = 9
const booleanType = 7
const maxDimensions = 4
const smallestEntryBytes = 13
const smallestTensorBytes = 32

interface NumberType {
  readonly bytes: number
  readonly read: (view: DataView) => number | bigint
  readonly array: (bytes: Uint8Array<ArrayBuffer>) => GgufNumbers
}

const numberTypes: ReadonlyMap<number, NumberType> = new Map<number, NumberType>([
  [0, { bytes: 1, read: (v) => v.getUint8(0), array: (b) => b }],
  [1, { bytes: 1, read: (v) => v.getInt8(0), array: (b) => new Int8Array(b.buffer) }],
  [2, { bytes: 2, read: (v) => v.getUint16(0, true), array: (b) => new Uint16Array(b.buffer) }],
  [3, { bytes: 2, read: (v) => v.getInt16(0, true), array: (b) => new Int16Array(b.buffer) }],
  [4, { bytes: 4, read: (v) => v.getUint32(0, true), array: (b) => new Uint32Array(b.buffer) }],
  [5, { bytes: 4, read: (v) => v.getInt32(0, true), array: (b) => new Int32Array(b.buffer) }],
  [6, { bytes: 4, read: (v) => v.getFloat32(0, true), array: (b) => new Float32Array(b.buffer) }],
  [booleanType, { bytes: 1, read: (v) => v.getUint8(0), array: (b) => b }],
  [10, { bytes: 8, read: (v) => v.getBigUint64(0, true), array: (b) => new BigUint64Array(b.buffer) }],
  [11, { bytes: 8, read: (v) => v.getBigInt64(0, true), array: (b) => new BigInt64Array(b.buffer) }],
  [12, { bytes: 8, read: (v) => v.getFloat64(0, true), array: (b) => new Float64Array(b.buffer) }],
])

/**
 * Reads and checks the header of a GGUF file.
 * @throws ShadowError `invalid_file`, naming the file and the field
 */
export function readGgufHeader(file: FileWindow): GgufHeader {
  const cursor = new Cursor(file)
  if (file.size < 4 || cursor.u32('magic') !== magic) throw file.invalid('magic', 'this is not a GGUF file')
  const version = cursor.u32('version')
  if (version !== 2 && version !== 3)
    throw file.invalid('version', `GGUF version ${version} is not read (2 and 3 are, little-endian)`)
  const tensorCount = cursor.count('tensor count', smallestTensorBytes)
  const entryCount = cursor.count('metadata count', smallestEntryBytes)

  const metadata = new Map<string, GgufValue>()
  for (let i = 0; i < entryCount; i++) {
    const key = cursor.string(`metadata key ${i}`)
    if (metadata.has(key)) throw file.invalid(`metadata ${key}`, 'appears twice')
    metadata.set(key, cursor.value(cursor.u32(`type of ${key}`), `metadata ${key}`))
  }

  const alignment = metadata.get('general.alignment') ?? 32
  if (typeof alignment !== 'number' || alignment < 1 || !Number.isInteger(Math.log2(alignment)))
    throw file.invalid('general.alignment', `${String(alignment)} is not a power of two`)
  const relative = Array.from({ length: tensorCount }, (_, i) => readTensorInfo(cursor, i, alignment))
  const dataStart = Math.ceil(cursor.position / alignment) * alignment

  const tensors = new Map<string, GgufTensor>()
  for (const info of relative) {
    if (tensors.has(info.name)) throw file.invalid(`tensor ${info.name}`, 'appears twice')
    const start = dataStart + info.start
    if (start + info.bytes > file.size)
      throw file.invalid(
        `tensor ${info.name}`,
        `its ${info.bytes} bytes at ${start} reach past the end of the file at ${file.size} (truncated?)`,
      )
    tensors.set(info.name, { ...info, start })
  }
  refuseOverlaps(file, tensors)
  return { metadata, tensors }
}

/** Tensors that share bytes would let a small file stand for any amount of memory. */
function refuseOverlaps(file: FileWindow, tensors: ReadonlyMap<string, GgufTensor>): void {
  let end = 0
  for (const { name, start, bytes } of [...tensors.values()].toSorted((a, b) => a.start - b.start)) {
    if (start < end) throw file.invalid(`tensor ${name}`, `its bytes at ${start} belong to another tensor`)
    end = start + bytes
  }
}

/** @returns the tensor with `start` still relative to the data section */
function readTensorInfo(cursor: Cursor, index: number, alignment: number): GgufTensor {
  const { file } = cursor
  const name = cursor.string(`name of tensor ${index}`)
  const field = `tensor ${name}`
  const dimensions = cursor.u32(`${field}: dimensions`)
  if (dimensions < 1 || dimensions > maxDimensions)
    throw file.invalid(field, `has ${dimensions} dimensions (1 to ${maxDimensions} are possible)`)
  const shape: number[] = []
  for (let i = 0; i < dimensions; i++) shape.unshift(cursor.u64(`${field}: shape`))
  const typeId = cursor.u32(`${field}: type`)
  const type = ggmlTypes.get(typeId)
  if (type === undefined) throw file.invalid(field, `has the unknown type ${typeId}`)
  const start = cursor.u64(`${field}: offset`)

  const columns = shape.at(-1) ?? 0
  const elements = shape.reduce((product, length) => product * length, 1)
  const bytes = (elements / type.blockElements) * type.blockBytes
  if (elements < 1 || bytes > file.size)
    throw file.invalid(
      field,
      `the shape ${shape.join('×')} as ${type.name} does not fit a file of ${file.size} bytes`,
    )
  if (columns % type.blockElements !== 0)
    throw file.invalid(field, `rows of ${columns} are not whole ${type.name} blocks of ${type.blockElements}`)
  if (start % alignment !== 0)
    throw file.invalid(field, `its offset ${start} is not a multiple of ${alignment}`)
  return { name, shape, type, start, bytes }
}

/** Reads the header's primitives one after the other. */
class Cursor {
  readonly file: FileWindow
  readonly #text = new TextDecoder()
  position = 0

  constructor(file: FileWindow) {
    this.file = file
  }

  u32(field: string): number {
    return this.#take(4, field).getUint32(0, true)
  }

  u64(field: string): number {
    const value = this.#take(8, field).getBigUint64(0, true)
    if (value > BigInt(this.file.size))
      throw this.file.invalid(field, `${value} is more than a file of ${this.file.size} bytes can mean`)
    return Number(value)
  }

  /** A number of things of which each takes at least `leastBytes` of what is left of the file. */
  count(field: string, leastBytes: number): number {
    const count = this.u64(field)
    if (count * leastBytes > this.file.size - this.position)
      throw this.file.invalid(field, `${count} entries cannot fit in the rest of the file (truncated?)`)
    return count
  }

  string(field: string): string {
    const length = this.count(field, 1)
    const view = this.#take(length, field)
    return this.#text.decode(new Uint8Array(view.buffer, view.byteOffset, length))
  }

  value(type: number, field: string): GgufValue {
    if (type === stringType) return this.string(field)
    if (type === arrayType) return this.#array(field)
    const scalar = numberTypes.get(type)
    if (scalar === undefined) throw this.file.invalid(field, `has the unknown type ${type}`)
    const value = scalar.read(this.#take(scalar.bytes, field))
    return type === booleanType ? value !== 0 : value
  }

  #array(field: string): GgufValue {
    const type = this.u32(field)
    if (type === stringType) {
      const length = this.count(field, 8)
      return Array.from({ length }, (_, i) => this.string(`${field}[${i}]`))
    }
    const scalar = numberTypes.get(type)
    if (scalar === undefined) throw this.file.invalid(field, `is an array of the unreadable type ${type}`)
    const length = this.count(field, scalar.bytes)
    const bytes = this.file.bytes(this.position, length * scalar.bytes, field)
    this.position += bytes.length
    return scalar.array(bytes)
  }

  #take(length: number, field: string): DataView<ArrayBuffer> {
    const view = this.file.view(this.position, length, field)
    this.position += length
    return view
  }
}
