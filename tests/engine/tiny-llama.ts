/** The committed fixture of tests/fixtures/scripts/tiny-llama.py, decoded. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { llamaConfig } from '../../src/engine/models/llama.ts'

export const encoded = z
  .object({ shape: z.array(z.number()), data: z.base64() })
  .transform(({ shape, data }) => {
    const bytes = Buffer.from(data, 'base64')
    return {
      shape,
      data: new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)),
    }
  })

const fixture = z.object({
  config: llamaConfig,
  weights: z.record(z.string(), encoded),
  adapter: z.record(z.string(), encoded),
  lora: z.object({ r: z.number(), lora_alpha: z.number() }),
  rows: z.array(z.array(z.number())),
  targetWeights: z.array(z.array(z.number())),
  logits: z.array(encoded),
  baseLogits: encoded,
  lossSum: z.number(),
  gradients: z.record(z.string(), encoded),
  greedy: z.array(z.number()),
})

export function readTinyLlama() {
  const url = new URL('../fixtures/engine/tiny-llama.json', import.meta.url)
  return fixture.parse(JSON.parse(readFileSync(url, 'utf8')))
}

/** Largest |a − b|. */
export function maxDifference(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) throw new RangeError(`lengths ${a.length} and ${b.length}`)
  return a.reduce((worst, value, index) => Math.max(worst, Math.abs(value - (b[index] ?? Number.NaN))), 0)
}

/** |a − b| / |b|, as vectors. */
export function relativeError(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) throw new RangeError(`lengths ${a.length} and ${b.length}`)
  let difference = 0
  let norm = 0
  b.forEach((value, index) => {
    difference += ((a[index] ?? Number.NaN) - value) ** 2
    norm += value ** 2
  })
  return Math.sqrt(difference) / Math.max(Math.sqrt(norm), 1e-30)
}
