/** Model folders and quantisation against mlx and mlx-lm, on fixtures made by scripts/mlx-quantised.py. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { openModelFolder } from '../../src/engine/io/model-folder.ts'
import { weightSource } from '../../src/engine/io/weight-source.ts'
import { createModel, pack, Runtime } from '../../src/engine/index.ts'
import { packAffine, quantizeAffine } from '../../src/engine/nn/quantize.ts'
import { FrozenMatrix } from '../../src/engine/tensor/frozen-matrix.ts'
import { astype } from '../../src/engine/tensor/ops.ts'
import { fixture } from './default-model.ts'
import { pseudoRandom } from './pseudo-random.ts'
import { maxDifference } from './tiny-llama.ts'

const bytes = z.base64().transform((text) => new Uint8Array(Buffer.from(text, 'base64')))
const float32s = bytes.transform((data) => new Float32Array(data.buffer))
const reference = z
  .object({
    config: z.looseObject({ model_type: z.string(), quantization: z.looseObject({ bits: z.number() }) }),
    weights: bytes,
    prompts: z.array(z.array(z.int())).length(3),
    logits: z.array(float32s).length(3),
    quantize: z.object({
      rows: z.int(),
      columns: z.int(),
      seed: z.int(),
      scale: z.number(),
      cases: z
        .array(
          z.object({
            scales: z.enum(['float32', 'float16', 'bfloat16']),
            bits: z.union([z.literal(4), z.literal(8)]),
            groupSize: z.int(),
            codes: bytes,
            scaleValues: float32s,
            biasValues: float32s,
          }),
        )
        .length(12),
    }),
  })
  .parse(fixture('engine/mlx-quantised'))

const runtime = new Runtime()
const root = mkdtempSync(join(tmpdir(), 'mlx-quantised-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

function folder(config: unknown = reference.config, weights: Uint8Array = reference.weights): string {
  const path = mkdtempSync(join(root, 'model-'))
  writeFileSync(join(path, 'config.json'), JSON.stringify(config))
  writeFileSync(join(path, 'model.safetensors'), weights)
  return path
}

describe('a folder that mlx-lm quantised, two layers in another way and one not at all', () => {
  test.each(['keep', 'none'] as const)('logits are those of mlx-lm (quantization %s)', (quantization) => {
    using opened = openModelFolder(folder())
    const model = createModel(runtime, opened.config, weightSource(opened.tensors, quantization))
    reference.prompts.forEach((ids, index) => {
      const logits = runtime.tidy(() => model.logits(model.hidden(pack([ids]), null)).toFloat32Array())
      expect(maxDifference(logits, reference.logits[index] ?? new Float32Array())).toBeLessThan(1e-4)
    })
    model.dispose()
  })

  test('packed and decoded matrices have the same values', () => {
    using opened = openModelFolder(folder())
    const packings: unknown[] = []
    for (const [name, tensor] of opened.tensors) {
      const packed = tensor.readPacked?.()
      if (packed === undefined) continue
      const [rows = 0] = tensor.shape
      const words = runtime.fromBytes(
        new Uint8Array(packed.words.buffer),
        [rows, packed.words.length / rows],
        'uint32',
      )
      const values = FrozenMatrix.ofRows(words, packed.packing).dequantized().toFloat32Array()
      expect(maxDifference(values, tensor.read()), name).toBeLessThan(1e-7)
      packings.push(packed.packing)
    }
    expect(packings).toHaveLength(7)
    expect(packings).toContainEqual({ bits: 8, groupSize: 32, scales: 'float32' })
    expect(packings).toContainEqual({ bits: 4, groupSize: 64, scales: 'float32' })
  })

  const { quantization } = reference.config
  test.each([
    [{ ...quantization, bits: 3 }, '3 bits are not read'],
    [{ ...quantization, group_size: 16 }, 'groups of 16'],
    [{ ...quantization, mode: 'mxfp4' }, 'the mode mxfp4'],
    [{ ...quantization, bits: 8 }, 'do not fit scales'],
    [{ ...quantization, group_size: 'many' }, 'group_size'],
    [{ ...quantization, 'model.embed_tokens': { bits: 4 } }, 'quantization of model.embed_tokens'],
  ])('%o is refused', (wrong, message) => {
    const path = folder({ ...reference.config, quantization: wrong })
    expect(() => openModelFolder(path)).toThrow(message)
  })

  test('a model that another program quantised is refused by its name', () => {
    const { quantization: _mlx, ...config } = reference.config
    const path = folder({ ...config, quantization_config: { quant_method: 'gptq', bits: 4 } })
    expect(() => openModelFolder(path)).toThrow('quantised by gptq')
  })
})

test.each(reference.quantize.cases)(
  'mx.quantize on $scales, $bits bits in groups of $groupSize: the same codes, scales and biases',
  ({ scales, bits, groupSize, ...expected }) => {
    const { rows, columns, seed, scale } = reference.quantize
    const matrix = runtime.fromFloat32(pseudoRandom(rows * columns, seed, scale), [rows, columns])
    const found = quantizeAffine(astype(matrix, scales), { bits, groupSize })
    expect(new Uint8Array(found.codes.toInt32Array().buffer)).toEqual(expected.codes)
    expect(found.scales.toFloat32Array()).toEqual(expected.scaleValues)
    expect(found.biases.toFloat32Array()).toEqual(expected.biasValues)
    const packing = { bits, groupSize, scales }
    const packed = FrozenMatrix.ofRows(packAffine(found, packing), packing).dequantized().toFloat32Array()
    expect(packed[0]).toBeCloseTo(
      (expected.scaleValues[0] ?? 0) * ((expected.codes[0] ?? 0) & (2 ** bits - 1)) +
        (expected.biasValues[0] ?? 0),
      6,
    )
  },
)
