/** Safetensors files, right ones and spoiled ones. */
import type { Chance } from './chance.ts'
import { edgeNumbers, type Json, mutateBytes, mutateJson, spoiledText } from './mutate.ts'

/** A right file with this header; its data are the bytes 1, 2, 3, … */
export function safetensorsFile(header: Record<string, Json>): Buffer {
  return assembled(JSON.stringify(header), dataBytes(header))
}

export function spoiledSafetensors(header: Record<string, Json>, chance: Chance): Uint8Array {
  if (chance.is(0.25)) return mutateBytes(safetensorsFile(header), chance)
  let spoiled: Json = header
  for (let times = 1 + chance.below(2); times > 0; times--)
    spoiled = chance.is(0.4) ? withOffsets(header, chance) : mutateJson(spoiled, chance)
  const text = spoiledText(spoiled, chance)
  const length = chance.is(0.1) ? chance.pick(edgeNumbers) : undefined
  const bytes = assembled(text, dataBytes(header) + (chance.is(0.1) ? chance.below(64) - 32 : 0), length)
  return chance.is(0.1) ? bytes.subarray(0, chance.below(bytes.length)) : bytes
}

/** One tensor laid over another, beyond the end, or backwards; or with a huge shape that fits its bytes. */
function withOffsets(header: Record<string, Json>, chance: Chance): Json {
  const names = Object.keys(header).filter((name) => name !== '__metadata__')
  const name = chance.pick(names)
  const entry = header[name]
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) return header
  const other = header[chance.pick(names)]
  const kind = chance.below(4)
  if (kind === 0 && typeof other === 'object' && other !== null && !Array.isArray(other))
    return { ...header, [name]: { ...entry, data_offsets: other['data_offsets'] ?? null } }
  if (kind === 1) {
    const edges = [chance.pick(edgeNumbers), chance.pick(edgeNumbers)]
    return { ...header, [name]: { ...entry, data_offsets: edges } }
  }
  if (kind === 2) {
    const shape = [chance.pick(edgeNumbers), chance.pick(edgeNumbers), 0]
    return { ...header, [name]: { ...entry, shape } }
  }
  return { ...header, [`${name}.copy`]: entry }
}

function dataBytes(header: Record<string, Json>): number {
  let end = 0
  for (const entry of Object.values(header)) {
    if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) continue
    const offsets = entry['data_offsets']
    if (Array.isArray(offsets)) end = Math.max(end, Number(offsets[1]))
  }
  return end
}

function assembled(text: string, dataLength: number, headerLength?: number): Buffer {
  const json = Buffer.from(text)
  const head = Buffer.alloc(8)
  head.writeBigUInt64LE(BigInt.asUintN(64, BigInt(Math.trunc(headerLength ?? json.length))))
  const data = Buffer.from(Uint8Array.from({ length: Math.max(0, dataLength) }, (_, i) => i + 1))
  return Buffer.concat([head, json, data])
}
