/** GGUF files, spoiled. */
import {
  type GgufField,
  type GgufSpec,
  type GgufTensorSpec,
  numbers,
  tinyLlama,
  writeGguf,
} from '../engine/gguf-writer.ts'
import type { Chance } from './chance.ts'
import { edgeJson, edgeNumbers, mutateBytes } from './mutate.ts'

const template =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' }}{% endfor %}"
/** Costs the whole time that a template is given, so it is rare. */
export const endlessTemplate =
  '{% for i in range(20000) %}{% for j in range(20000) %}{% set x = j %}{% endfor %}{% endfor %}'
export const chatTemplates: readonly string[] = [
  '{% for i in range(1000000000) %}{{ i }}{% endfor %}',
  '{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}',
  "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s | upper }}",
  '{{ messages[0].content.constructor }}',
  '{% if %}',
  '{{ '.repeat(3000),
  '('.repeat(20_000),
]

/** A LoRA adapter for the model of `tinyLlama`, as llama.cpp's converter lays it out. */
const tinyLora: GgufSpec = {
  fields: [
    ['general.type', ['string', 'adapter']],
    ['general.architecture', ['string', 'llama']],
    ['adapter.type', ['string', 'lora']],
    ['adapter.lora.alpha', ['f32', 4]],
  ],
  tensors: (
    [
      ['blk.0.attn_q.weight.lora_a', [2, 8]],
      ['blk.0.attn_q.weight.lora_b', [8, 2]],
      ['blk.0.ffn_up.weight.lora_a', [1, 8]],
      ['blk.0.ffn_up.weight.lora_b', [6, 1]],
    ] as const
  ).map(([name, shape]) => ({ name, shape, type: 0, data: numbers(shape) })),
}

export function spoiledGgufLora(chance: Chance): Uint8Array {
  return spoiled(tinyLora, chance)
}

export function spoiledGguf(chance: Chance): Uint8Array {
  return spoiled(tinyLlama({ 'tokenizer.chat_template': ['string', template] }), chance)
}

function spoiled(spec: GgufSpec, chance: Chance): Uint8Array {
  if (chance.is(0.25)) return mutateBytes(writeGguf(spec), chance)
  let result: GgufSpec = spec
  for (let times = 1 + chance.below(2); times > 0; times--)
    result = chance.is(0.5) ? withField(result, chance) : withTensor(result, chance)
  if (chance.is(0.1)) result = { ...result, [chance.pick(['tensorCount', 'fieldCount'])]: edge(chance) }
  const bytes = writeGguf(result)
  return chance.is(0.1) ? bytes.subarray(0, chance.below(bytes.length)) : bytes
}

function withField(spec: GgufSpec, chance: Chance): GgufSpec {
  const fields = [...(spec.fields ?? [])]
  const index = chance.below(fields.length)
  const [key, field] = fields[index] ?? ['general.architecture', ['string', 'llama']]
  const kind = chance.below(8)
  if (kind === 0) return { ...spec, fields: fields.toSpliced(index, 1) }
  if (kind === 1) return { ...spec, fields: fields.toSpliced(index, 0, [key, field]) }
  if (kind === 2) return { ...spec, fields: [...fields, ['general.alignment', ['u32', edgeU32(chance)]]] }
  if (kind === 3)
    return {
      ...spec,
      fields: fields.map((one) =>
        one[0] === 'tokenizer.chat_template'
          ? [one[0], ['string', chance.is(0.02) ? endlessTemplate : chance.pick(chatTemplates)]]
          : one,
      ),
    }
  return { ...spec, fields: fields.with(index, [key, spoiledField(field, chance)]) }
}

function spoiledField(field: GgufField, chance: Chance): GgufField {
  const kind = chance.below(7)
  if (kind === 0) return ['u32', edgeU32(chance)]
  if (kind === 1) return ['f32', chance.pick(edgeNumbers)]
  if (kind === 2) return ['u64', edge(chance)]
  if (kind === 3) return ['string', edgeText(chance)]
  if (kind === 4) return ['bool', true]
  if (kind === 5) return ['raw', nestedArrays(chance)]
  if (field[0] !== 'strings') return ['strings', ['a', 'a']]
  const at = chance.below(field[1].length)
  return ['strings', chance.is(0.5) ? field[1].with(at, edgeText(chance)) : field[1].toSpliced(at, 1)]
}

/** Arrays of arrays, or an array of an edge length. */
function nestedArrays(chance: Chance): Uint8Array {
  const depth = chance.pick([1, 2, 50, 5000])
  const level = Buffer.alloc(12)
  level.writeUInt32LE(9)
  level.writeBigUInt64LE(1n, 4)
  const last = Buffer.alloc(12)
  last.writeUInt32LE(chance.below(14))
  last.writeBigUInt64LE(edge(chance), 4)
  return Buffer.concat([Buffer.of(9, 0, 0, 0), ...Array.from({ length: depth }, () => level), last])
}

function withTensor(spec: GgufSpec, chance: Chance): GgufSpec {
  const tensors = [...(spec.tensors ?? [])]
  if (tensors.length === 0) return spec
  const index = chance.below(tensors.length)
  const tensor = tensors[index]
  if (tensor === undefined) return spec
  const changed = (change: Partial<GgufTensorSpec>): GgufSpec => ({
    ...spec,
    tensors: tensors.with(index, { ...tensor, ...change }),
  })
  const axis = chance.below(tensor.shape.length)
  const kind = chance.below(9)
  if (kind === 0) return { ...spec, tensors: tensors.toSpliced(index, 1) }
  if (kind === 1) return { ...spec, tensors: tensors.toSpliced(index, 0, tensor) }
  if (kind === 2) return changed({ offset: edge(chance) })
  if (kind === 3) return changed({ offset: BigInt(32 * chance.below(60)) })
  if (kind === 4) return changed({ shape: tensor.shape.with(axis, edge(chance)) })
  if (kind === 5) return changed({ shape: [...tensor.shape, edge(chance), edge(chance)] })
  if (kind === 6) return changed({ type: chance.is(0.5) ? chance.below(36) : edgeU32(chance) })
  if (kind === 7) return changed({ name: edgeText(chance) })
  // The whole data section claimed many times over.
  const many = 1 + chance.below(200)
  const shape = [chance.below(400), 1]
  const copies = Array.from({ length: many }, (_, i) => ({
    name: `blk.${i}.attn_norm.weight`,
    shape,
    type: 0,
    data: new Uint8Array(0),
    offset: 0n,
  }))
  return { ...spec, tensors: [...tensors, ...copies] }
}

/** Text, mostly as it is; lists and objects as JSON. */
function edgeText(chance: Chance): string {
  const value = edgeJson(chance)
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function edge(chance: Chance): bigint {
  return BigInt.asUintN(64, BigInt(Math.trunc(chance.pick(edgeNumbers))))
}

function edgeU32(chance: Chance): number {
  return chance.pick(edgeNumbers) >>> 0
}
