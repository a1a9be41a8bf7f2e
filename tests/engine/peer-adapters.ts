/** The adapters that PEFT and mlx-lm wrote for the tiny model (tests/fixtures/scripts/peer-adapters.py). */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { type CausalLM, loadLora, loadModel, pack, type Runtime } from '../../src/engine/index.ts'
import { exportModel } from '../../src/engine/io/export.ts'
import { maxDifference } from './tiny-llama.ts'

const answer = z.object({
  prompt: z.array(z.number()),
  logits: z
    .base64()
    .transform((text) => new Float32Array(Uint8Array.from(Buffer.from(text, 'base64')).buffer)),
})

export interface PeerAdapter {
  readonly name: string
  readonly folder: string
}

export function writtenByPeers(): PeerAdapter[] {
  const root = fileURLToPath(new URL('../fixtures/peers', import.meta.url))
  return readdirSync(root).map((name) => ({ name, folder: join(root, name) }))
}

/** How far the logits are from the writer's, with the adapter beside its base and merged into it. */
export async function distances(
  { name, folder }: PeerAdapter,
  runtime: Runtime,
  basePath: string,
  work: string,
): Promise<{ beside: number; merged: number }> {
  const { prompt, logits } = answer.parse(JSON.parse(readFileSync(join(folder, 'logits.json'), 'utf8')))
  const distance = (model: CausalLM, adapterFolder: string | null): number => {
    const adapter = adapterFolder === null ? null : loadLora(model, adapterFolder).view()
    const all = runtime.tidy(() => model.logits(model.hidden(pack([prompt]), adapter)).toFloat32Array())
    return maxDifference(all.slice(-logits.length), logits)
  }
  const outFolder = join(work, name)
  await exportModel({ basePath, adapterFolder: folder, format: 'hf', outFolder })
  return {
    beside: distance(loadModel(runtime, basePath).model, folder),
    merged: distance(loadModel(runtime, outFolder).model, null),
  }
}
