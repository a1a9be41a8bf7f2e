/** A decoder as its configuration describes it: what `DecoderForCausalLM` builds, and what the files must hold. */
import { type BlockSpec, blockLinears, blockNorms } from '../nn/decoder-block.ts'
import type { LinearSpec } from '../nn/projections.ts'
import type { RopeSettings } from '../nn/rope-frequencies.ts'

export interface Architecture {
  vocabularySize: number
  hiddenSize: number
  /** The longest sequence, in tokens, that the configuration names. */
  maxPositions: number
  /** Multiplies the input embeddings, not the head. */
  embeddingScale: number
  /** The LM head is the embedding matrix. */
  tiedEmbeddings: boolean
  normEps: number
  /** Added to the weights of all norms. */
  normOffset: number
  /** The rotary embeddings that layers choose from. */
  rotations: readonly RopeSettings[]
  layers: readonly BlockSpec[]
}

export function layerPrefix(layer: number): string {
  return `model.layers.${layer}`
}

/** The linear layers that an adapter can change, in the model's order. */
export function architectureLinears({ layers }: Architecture): LinearSpec[] {
  return layers.flatMap((spec, layer) => Object.values(blockLinears(layerPrefix(layer), spec)).flat())
}

/**
 * Every tensor of the model by Hugging Face name, with its shape. `lm_head.weight` is among them when the embeddings
 * are tied too. The order is part of what a seed stands for: new tensors of a layer go behind its old ones.
 */
export function architectureTensors(architecture: Architecture): Map<string, readonly number[]> {
  const { vocabularySize, hiddenSize, layers } = architecture
  const shapes = new Map<string, readonly number[]>([
    ['model.embed_tokens.weight', [vocabularySize, hiddenSize]],
    ['model.norm.weight', [hiddenSize]],
    ['lm_head.weight', [vocabularySize, hiddenSize]],
  ])
  layers.forEach((spec, layer) => {
    const prefix = layerPrefix(layer)
    const norms = blockNorms(prefix, spec)
    const linears = Object.values(blockLinears(prefix, spec)).flat()
    for (const { path, size } of norms.slice(0, 2)) shapes.set(`${path}.weight`, [size])
    for (const { path, inFeatures, outFeatures } of linears)
      shapes.set(`${path}.weight`, [outFeatures, inFeatures])
    for (const { path, outFeatures, hasBias } of linears)
      if (hasBias) shapes.set(`${path}.bias`, [outFeatures])
    for (const { path, size } of norms.slice(2)) shapes.set(`${path}.weight`, [size])
  })
  return shapes
}
