/**
 * Model folders that MLX quantised: a matrix is `<path>.weight` (uint32 words of codes, lowest bits first),
 * `<path>.scales` and `<path>.biases`, and config.json's `quantization` says how many bits and how large a group.
 */
import { z } from 'zod'
import type { ShadowError } from '../../lib/error.ts'
import { type Packing, packedRowBytes } from '../tensor/frozen-matrix.ts'
import type { PackedRows } from './ggml-pack.ts'
import type { StoredTensor } from './stored-tensor.ts'

const sizes = z.object({ group_size: z.number(), bits: z.number(), mode: z.string().default('affine') })
/** The model's own sizes, and by path those of layers that differ, or false for layers that are dense. */
const quantizationSchema = z.looseObject(sizes.shape)
const foreignSchema = z.looseObject({ quant_method: z.string() })

const scaleTypes: ReadonlyMap<string, Packing['scales']> = new Map([
  ['F32', 'float32'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
])

/** Makes the error for a field that cannot be right. */
type Wrong = (field: string, problem: string) => ShadowError

/**
 * The same tensors with every quantised matrix under its one name, readable as float32 and as it is.
 * @param config the content of config.json
 * @throws what `wrong` makes
 */
export function withMlxMatrices(
  config: Readonly<Record<string, unknown>>,
  tensors: ReadonlyMap<string, StoredTensor>,
  wrong: Wrong,
): ReadonlyMap<string, StoredTensor> {
  const { quantization } = config
  if (quantization === undefined || quantization === null) {
    const foreign = foreignSchema.safeParse(config['quantization_config'])
    if (foreign.success)
      throw wrong('quantization_config', `models quantised by ${foreign.data.quant_method} are not read`)
    return tensors
  }
  const parsed = quantizationSchema.safeParse(quantization)
  if (!parsed.success) throw wrong('quantization', z.prettifyError(parsed.error))
  const all = new Map(tensors)
  for (const [name, codes] of tensors) {
    const path = name.slice(0, -'.weight'.length)
    const scales = tensors.get(`${path}.scales`)
    if (!name.endsWith('.weight') || scales === undefined) continue
    const biases = tensors.get(`${path}.biases`)
    const own = sizes.safeParse(parsed.data[path] ?? parsed.data)
    const problem = (text: string): ShadowError => wrong(`quantization of ${path}`, text)
    if (!own.success) throw problem(z.prettifyError(own.error))
    all.set(name, quantisedMatrix({ codes, scales, biases }, own.data, problem))
    all.delete(`${path}.scales`)
    all.delete(`${path}.biases`)
  }
  return all
}

interface Parts {
  codes: StoredTensor
  scales: StoredTensor
  biases: StoredTensor | undefined
}

function quantisedMatrix(
  { codes, scales, biases }: Parts,
  { bits, group_size: groupSize, mode }: z.output<typeof sizes>,
  problem: (text: string) => ShadowError,
): StoredTensor {
  if (mode !== 'affine') throw problem(`the mode ${mode} is not read (affine is)`)
  if (bits !== 4 && bits !== 8) throw problem(`${bits} bits are not read (4 and 8 are)`)
  if (![32, 64, 128].includes(groupSize))
    throw problem(`groups of ${groupSize} are not read (32, 64 and 128 are)`)
  const type = scaleTypes.get(scales.storedAs)
  if (codes.storedAs !== 'U32' || type === undefined)
    throw problem(`codes are ${codes.storedAs} and scales ${scales.storedAs}`)
  if (biases === undefined) throw problem('the biases are missing')
  if (biases.storedAs !== scales.storedAs || biases.shape.join() !== scales.shape.join())
    throw problem('scales and biases differ in shape or type')
  const [rows = 0, words = 0] = codes.shape
  const [scaleRows, groups = 0] = scales.shape
  const columns = groups * groupSize
  if (
    codes.shape.length !== 2 ||
    scales.shape.length !== 2 ||
    scaleRows !== rows ||
    words * 32 !== columns * bits
  )
    throw problem(`codes of ${codes.shape.join('×')} do not fit scales of ${scales.shape.join('×')}`)
  const packing: Packing = { bits, groupSize, scales: type }
  const readPacked = (): PackedRows => packRows(codes, scales, biases, rows, columns, packing)
  return {
    shape: [rows, columns],
    storedAs: `MLX ${bits} bits`,
    read: () => dequantised(codes, scales.read(), biases.read(), columns, packing),
    readPacked,
  }
}

function bytesOf(tensor: StoredTensor): Uint8Array<ArrayBuffer> {
  if (tensor.bytes === undefined) throw new RangeError('The tensor does not come from a safetensors file.')
  return tensor.bytes()
}

/** The code of element `i`: they follow each other, the first in the lowest bits. */
function codeAt(bytes: Uint8Array, i: number, bits: Packing['bits']): number {
  return bits === 8 ? bytes[i]! : (bytes[i >> 1]! >> ((i & 1) * 4)) & 15
}

function dequantised(
  stored: StoredTensor,
  scales: Float32Array,
  biases: Float32Array,
  columns: number,
  { bits, groupSize }: Packing,
): Float32Array<ArrayBuffer> {
  const codes = bytesOf(stored)
  const out = new Float32Array((scales.length / (columns / groupSize)) * columns)
  for (let i = 0; i < out.length; i++) {
    const group = Math.floor(i / groupSize)
    out[i] = scales[group]! * codeAt(codes, i, bits) + biases[group]!
  }
  return out
}

/** As native/frozen-matrix.h lays a packed matrix out: of 32 elements, element j + 16 is in the byte of element j. */
function packRows(
  stored: StoredTensor,
  scales: StoredTensor,
  biases: StoredTensor,
  rows: number,
  columns: number,
  packing: Packing,
): PackedRows {
  const [codes, scaleBytes, biasBytes] = [bytesOf(stored), bytesOf(scales), bytesOf(biases)]
  const rowBytes = packedRowBytes(columns, packing)
  const codeBytes = (columns * packing.bits) / 8
  const sideBytes = (rowBytes - codeBytes) / 2
  const words = new Uint32Array((rows * rowBytes) / 4)
  const out = new Uint8Array(words.buffer)
  for (let row = 0; row < rows; row++) {
    const to = row * rowBytes
    const from = row * codeBytes
    if (packing.bits === 8) out.set(codes.subarray(from, from + codeBytes), to)
    else
      for (let at = 0; at < codeBytes; at += 16)
        for (let j = 0; j < 16; j++)
          out[to + at + j] =
            codeAt(codes, 2 * (from + at) + j, 4) | (codeAt(codes, 2 * (from + at) + j + 16, 4) << 4)
    out.set(scaleBytes.subarray(row * sideBytes, (row + 1) * sideBytes), to + codeBytes)
    out.set(biasBytes.subarray(row * sideBytes, (row + 1) * sideBytes), to + codeBytes + sideBytes)
  }
  return { packing, words }
}
