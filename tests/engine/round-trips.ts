/**
 * Files read, written and read again: how many tensors a trip without arithmetic changes, and how far the logits
 * move by one with arithmetic. Tests and `bench -- parity` share it.
 */
import { join } from 'node:path'
import { mergedTensors } from '../../src/engine/io/export-merge.ts'
import { readAdapterFolder } from '../../src/engine/io/adapter-folder.ts'
import { type ExportRequest, exportModel } from '../../src/engine/io/export.ts'
import { type LoraAdapter, loraModules } from '../../src/engine/io/adapter.ts'
import { encodeF16, encodeQ8_0 } from '../../src/engine/io/ggml-encode.ts'
import { decodeF16, ggmlTypes } from '../../src/engine/io/ggml-types.ts'
import { fitsBlocks } from '../../src/engine/io/gguf-write.ts'
import { loadGguf } from '../../src/engine/io/gguf.ts'
import { saveAdapter } from '../../src/engine/io/peft.ts'
import { openSafetensors, type TensorData, tensorData } from '../../src/engine/io/safetensors.ts'
import type { Architecture } from '../../src/engine/models/architecture.ts'
import { createModel, loadLora, loadModel, pack, type Runtime } from '../../src/engine/index.ts'
import { inBfloat16, randomAdapter } from './tiny-adapters.ts'
import { maxDifference } from './tiny-llama.ts'

type Tensors = ReadonlyMap<string, TensorData>

export interface ExactTrip {
  readonly name: string
  readonly tensors: number
  /** Tensors that are missing, more, or differ in shape or in a bit of a value. */
  readonly changed: number
}

export interface LogitTrip {
  readonly name: string
  /** Largest difference of a logit. */
  readonly difference: number
}

/** Trips in which no value is computed. @param basePath a GGUF file of f32 */
export async function exactTrips(basePath: string, folder: string): Promise<ExactTrip[]> {
  const at = (...names: string[]): string => join(folder, ...names)
  const trips: ExactTrip[] = []
  const add = (name: string, before: Tensors, after: Tensors, widened = false): void => {
    trips.push({ name, tensors: before.size, changed: changedTensors(before, after, widened) })
  }
  const write = (request: Omit<ExportRequest, 'basePath'> & { basePath?: string | null }): Promise<void> =>
    exportModel({ basePath: null, ...request })

  for (const [kind, adapter] of adapters(basePath)) {
    const start = at(kind)
    await saveAdapter(start, adapter)
    const before = readAdapterFolder(start).tensors
    await write({ adapterFolder: start, format: 'peft', outFolder: at(kind, 'peft') })
    add(`PEFT → PEFT, ${kind}`, before, readAdapterFolder(at(kind, 'peft')).tensors)
    // llama.cpp has no DoRA, and one alpha for all layers.
    if (kind !== 'DoRA' && kind !== 'patterns') {
      const through = {
        basePath,
        adapterFolder: at(kind, 'gguf'),
        format: 'peft',
        outFolder: at(kind, 'ungguf'),
      } as const
      await write({ basePath, adapterFolder: start, format: 'gguf-lora', outFolder: at(kind, 'gguf') })
      await write(through)
      add(`PEFT → GGUF LoRA → PEFT, ${kind}`, before, readAdapterFolder(through.outFolder).tensors, true)
    }
    // mlx-lm has one rank and one scale for all layers.
    if (kind === 'patterns' || kind === 'ranks by pattern') continue
    await write({ adapterFolder: start, format: 'mlx-lm', outFolder: at(kind, 'mlx') })
    await write({ adapterFolder: at(kind, 'mlx'), format: 'mlx-lm', outFolder: at(kind, 'mlx-2') })
    const ofMlx = (name: string): Tensors => safetensorsOf(at(kind, name, 'adapters.safetensors'))
    add(`mlx-lm → mlx-lm, ${kind}`, ofMlx('mlx'), ofMlx('mlx-2'))
    await write({ adapterFolder: at(kind, 'mlx'), format: 'peft', outFolder: at(kind, 'back') })
    add(`PEFT → mlx-lm → PEFT, ${kind}`, before, readAdapterFolder(at(kind, 'back')).tensors)
    await write({ adapterFolder: at(kind, 'back'), format: 'mlx-lm', outFolder: at(kind, 'mlx-3') })
    add(`mlx-lm → PEFT → mlx-lm, ${kind}`, ofMlx('mlx'), ofMlx('mlx-3'))
  }

  const base = ggufTensors(basePath)
  const gguf = async (from: string, type: string, name: string): Promise<string> => {
    await write({ basePath: from, adapterFolder: null, format: 'gguf', type, outFolder: at(name) })
    return at(name, `model.${type}.gguf`)
  }
  add('GGUF f32 → f32', base, ggufTensors(await gguf(basePath, 'f32', 'f32')))
  for (const type of ['f16', 'q8_0']) {
    const first = await gguf(basePath, type, type)
    add(`GGUF ${type} → ${type}`, ggufTensors(first), ggufTensors(await gguf(first, type, `${type}-2`)))
    const wide = await gguf(first, 'f32', `${type}-f32`)
    add(`GGUF ${type} → f32`, ggufTensors(first), ggufTensors(wide), true)
    if (type === 'f16')
      add('GGUF f16 → f32 → f16', ggufTensors(first), ggufTensors(await gguf(wide, 'f16', 'f16-3')))
  }
  for (const [from, type] of [
    [basePath, 'f32'],
    [at('f16', 'model.f16.gguf'), 'f16'],
    [basePath, 'bf16'],
  ] as const) {
    const outFolder = at(`hf-${type}`)
    await write({ basePath: from, adapterFolder: null, format: 'hf', type, outFolder })
    const written = safetensorsOf(join(outFolder, 'model.safetensors'))
    if (type !== 'bf16') add(`GGUF ${type} → Hugging Face ${type}`, ggufTensors(from), written, true)
    await write({ basePath: outFolder, adapterFolder: null, format: 'hf', outFolder: at(`hf-${type}-2`) })
    const again = safetensorsOf(at(`hf-${type}-2`, 'model.safetensors'))
    add(`Hugging Face ${type} → Hugging Face`, written, again)
  }
  return trips
}

/** Trips in which weights are summed or rounded. */
export async function logitTrips(runtime: Runtime, basePath: string, folder: string): Promise<LogitTrip[]> {
  const at = (...names: string[]): string => join(folder, ...names)
  const adapter = randomAdapter(basePath)
  const adapterFolder = at('adapter')
  await saveAdapter(adapterFolder, adapter)
  const adapted = logitsOf(runtime, basePath, adapterFolder)
  const trips: LogitTrip[] = []

  await exportModel({ basePath, adapterFolder, format: 'hf', outFolder: at('hf') })
  const ofFolder = mergedLogits(runtime, basePath, safetensorsOf(at('hf', 'model.safetensors')))
  trips.push({
    name: 'adapter merged into a Hugging Face folder',
    difference: maxDifference(ofFolder, adapted),
  })

  await exportModel({ basePath, adapterFolder: null, format: 'hf', outFolder: at('base') })
  await exportModel({ basePath: at('base'), adapterFolder, format: 'hf', outFolder: at('hf-2') })
  const { model } = loadModel(runtime, at('hf-2'))
  const whole = runtime.tidy(() => model.logits(model.hidden(pack(rows), null)).toFloat32Array())
  const name = 'adapter merged into a Hugging Face folder from another'
  trips.push({ name, difference: maxDifference(whole, adapted) })

  for (const type of ['f32', 'f16', 'q8_0'] as const) {
    await exportModel({ basePath, adapterFolder, format: 'gguf', type, outFolder: at(type) })
    const logits = logitsOf(runtime, at(type, `model.${type}.gguf`))
    const expected =
      type === 'f32'
        ? adapted
        : mergedLogits(runtime, basePath, rounded(basePath, adapter, type === 'f16' ? 'F16' : 'Q8_0'))
    const against = type === 'f32' ? 'base with adapter' : `merged weights rounded to ${type} in memory`
    trips.push({
      name: `adapter merged into GGUF ${type}, against the ${against}`,
      difference: maxDifference(logits, expected),
    })
  }

  await exportModel({ basePath, adapterFolder, format: 'mlx-lm', outFolder: at('mlx') })
  await exportModel({ basePath, adapterFolder: at('mlx'), format: 'peft', outFolder: at('back') })
  for (const [kind, start] of [
    ['plain', adapter],
    ['of ranks that differ', randomAdapter(basePath, { rank_pattern: { q_proj: 2, k_proj: 8 } })],
  ] as const) {
    await saveAdapter(at(kind), start)
    await exportModel({ basePath, adapterFolder: at(kind), format: 'gguf-lora', outFolder: at(kind, 'gguf') })
    const read = readAdapterFolder(at(kind, 'gguf'), () => architectureAt(basePath))
    await saveAdapter(at(kind, 'back'), read)
    const [before, after] = [at(kind), at(kind, 'back')].map((of) => logitsOf(runtime, basePath, of))
    trips.push({
      name: `${kind} adapter through a GGUF LoRA and back`,
      difference: maxDifference(after ?? new Float32Array(), before ?? new Float32Array(1)),
    })
  }
  trips.push({
    name: 'adapter through mlx-lm and back',
    difference: maxDifference(logitsOf(runtime, basePath, at('back')), adapted),
  })
  return trips
}

function architectureAt(path: string): Architecture {
  using file = loadGguf(path)
  return file.architecture
}

function adapters(basePath: string): [string, LoraAdapter][] {
  const patterns = { rank_pattern: { q_proj: 2, 'layers.1.mlp.up_proj': 6 }, alpha_pattern: { v_proj: 3 } }
  return [
    ['plain', randomAdapter(basePath)],
    ['DoRA', randomAdapter(basePath, { use_dora: true })],
    ['rsLoRA', randomAdapter(basePath, { use_rslora: true })],
    ['bfloat16', inBfloat16(randomAdapter(basePath))],
    ['patterns', randomAdapter(basePath, patterns)],
    ['ranks by pattern', randomAdapter(basePath, { rank_pattern: patterns.rank_pattern })],
  ]
}

/** The merged weights as the file's types can hold them: norms stay, rows that fill no blocks become halves. */
function rounded(basePath: string, adapter: LoraAdapter, type: 'F16' | 'Q8_0'): Tensors {
  using base = loadGguf(basePath)
  const merged = [...mergedTensors(base.tensors, loraModules(adapter))]
  const decode = ggmlTypes.get(8)?.decode
  return new Map(
    merged.map(([name, { shape, read }]) => {
      const data = read()
      if (shape.length === 1) return [name, { shape, data }]
      const inBlocks = type === 'Q8_0' && fitsBlocks(shape, type)
      const back = inBlocks ? decode?.(encodeQ8_0(data)) : decodeF16(encodeF16(data))
      return [name, { shape, data: back ?? data }]
    }),
  )
}

/** @param widened the type may be another one, which holds the same values */
function changedTensors(before: Tensors, after: Tensors, widened: boolean): number {
  let changed = [...after.keys()].filter((name) => !before.has(name)).length
  for (const [name, one] of before) {
    const other = after.get(name)
    const same =
      other !== undefined &&
      (widened || one.storedAs === other.storedAs) &&
      one.shape.join() === other.shape.join() &&
      sameBits(one.data, other.data)
    if (!same) changed += 1
  }
  return changed
}

function sameBits(a: Float32Array, b: Float32Array): boolean {
  const bytes = (x: Float32Array): Buffer => Buffer.from(x.buffer, x.byteOffset, x.byteLength)
  return bytes(a).equals(bytes(b))
}

function ggufTensors(path: string): Tensors {
  using model = loadGguf(path)
  return new Map([...model.tensors].map(([name, stored]) => [name, tensorData(stored)]))
}

function safetensorsOf(path: string): Tensors {
  using file = openSafetensors(path)
  return new Map([...file.tensors].map(([name, stored]) => [name, tensorData(stored)]))
}

const rows = [
  [2, 60, 71, 100, 31, 5, 77],
  [9, 8, 7],
]

function logitsOf(runtime: Runtime, path: string, adapterFolder?: string): Float32Array {
  const { model } = loadModel(runtime, path)
  const adapter = adapterFolder === undefined ? undefined : loadLora(model, adapterFolder)
  return runtime.tidy(() => model.logits(model.hidden(pack(rows), adapter?.view() ?? null)).toFloat32Array())
}

/** Logits of other weights in the base's configuration. */
function mergedLogits(runtime: Runtime, basePath: string, weights: Tensors): Float32Array {
  using base = loadGguf(basePath)
  const model = createModel(runtime, base.config, {
    has: (name) => weights.has(name),
    get: (name) => weights.get(name),
  })
  return runtime.tidy(() => model.logits(model.hidden(pack(rows), null)).toFloat32Array())
}
