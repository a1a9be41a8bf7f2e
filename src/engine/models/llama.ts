/** `model_type: llama`: Llama 2/3, SmolLM2 and others of that shape. */
import { z } from 'zod'
import { ShadowError } from '../../lib/error.ts'
import type { CacheHandle } from '../native/addon.ts'
import { type AttentionLayout, blockLinears, type BlockShape, DecoderBlock } from '../nn/decoder-block.ts'
import type { LinearSpec, LoraView } from '../nn/projections.ts'
import { RotaryEmbedding } from '../nn/rotary.ts'
import { takeMatrix, takeWeight, type Weight, type WeightSource } from '../nn/weights.ts'
import type { FrozenMatrix } from '../tensor/frozen-matrix.ts'
import { loraLinear, rmsNorm } from '../tensor/fused.ts'
import { multiply } from '../tensor/ops.ts'
import { key, normal, split } from '../tensor/random.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { CachedTokens, CausalLM, PackedTokens } from './causal-lm.ts'

/** The fields of `config.json` that decide the arithmetic, under Hugging Face's names. */
export const llamaConfig = z.object({
  model_type: z.literal('llama').default('llama'),
  vocab_size: z.number().int().positive(),
  hidden_size: z.number().int().positive(),
  intermediate_size: z.number().int().positive(),
  num_hidden_layers: z.number().int().positive(),
  num_attention_heads: z.number().int().positive(),
  num_key_value_heads: z.number().int().positive(),
  /** Default: hidden_size / num_attention_heads. */
  head_dim: z.number().int().positive().optional(),
  rms_norm_eps: z.number().positive(),
  rope_theta: z.number().positive(),
  /** Default, linear, llama3 or yarn; nn/rope-frequencies.ts reads it. */
  rope_scaling: z.unknown().optional(),
  max_position_embeddings: z.number().int().positive(),
  tie_word_embeddings: z.boolean(),
})
export type LlamaConfig = z.input<typeof llamaConfig>

function shapeOf(config: LlamaConfig): BlockShape {
  return {
    hiddenSize: config.hidden_size,
    intermediateSize: config.intermediate_size,
    heads: {
      query: config.num_attention_heads,
      key: config.num_key_value_heads,
      dim: config.head_dim ?? config.hidden_size / config.num_attention_heads,
    },
    normEps: config.rms_norm_eps,
  }
}

function layerPrefix(layer: number): string {
  return `model.layers.${layer}`
}

export class LlamaForCausalLM implements CausalLM {
  readonly runtime: Runtime
  readonly config: LlamaConfig
  readonly vocabularySize: number
  readonly contextLength: number
  readonly linears: readonly LinearSpec[]
  readonly head: FrozenMatrix
  readonly #shape: BlockShape
  readonly #embedding: FrozenMatrix
  readonly #norm: Tensor
  readonly #blocks: DecoderBlock[]
  readonly #rotary: RotaryEmbedding

  /**
   * @param source tensors under Hugging Face's names and layout (q and k not permuted), f32.
   * @throws ShadowError `invalid_config`, `invalid_file`.
   */
  constructor(runtime: Runtime, config: LlamaConfig, source: WeightSource) {
    const parsed = llamaConfig.safeParse(config)
    if (!parsed.success)
      throw new ShadowError('invalid_config', `Not a llama configuration: ${z.prettifyError(parsed.error)}`)
    const shape = shapeOf(config)
    if (!Number.isInteger(shape.heads.dim) || shape.heads.dim % 2 !== 0)
      throw new ShadowError(
        'invalid_config',
        `head_dim is ${shape.heads.dim}; rotary embedding needs an even integer.`,
      )
    if (config.num_attention_heads % config.num_key_value_heads !== 0)
      throw new ShadowError(
        'invalid_config',
        'num_attention_heads must be a multiple of num_key_value_heads.',
      )
    this.runtime = runtime
    this.config = config
    this.vocabularySize = config.vocab_size
    this.contextLength = config.max_position_embeddings
    this.#shape = shape
    this.#rotary = new RotaryEmbedding({
      headDim: shape.heads.dim,
      theta: config.rope_theta,
      maxPositions: config.max_position_embeddings,
      scaling: config.rope_scaling,
    })
    const matrix = [config.vocab_size, config.hidden_size]
    this.#embedding = takeMatrix(runtime, source, 'model.embed_tokens.weight', matrix)
    this.#norm = runtime.keep(
      runtime.fromFloat32(takeWeight(source, 'model.norm.weight', [config.hidden_size])),
    )
    this.head = config.tie_word_embeddings
      ? this.#embedding
      : takeMatrix(runtime, source, 'lm_head.weight', matrix)
    const layers = Array.from({ length: config.num_hidden_layers }, (_, layer) => layer)
    this.#blocks = layers.map((layer) => new DecoderBlock(runtime, source, layerPrefix(layer), layer, shape))
    this.linears = layers.flatMap((layer) => Object.values(blockLinears(layerPrefix(layer), shape)).flat())
  }

  /** A model with normal weights (std 0.02, norms 1), the same for the same seed. For tests and benchmarks. */
  static random(runtime: Runtime, config: LlamaConfig, seed: number): LlamaForCausalLM {
    return new LlamaForCausalLM(runtime, config, new RandomWeights(runtime, config, seed))
  }

  hidden(tokens: PackedTokens, lora: LoraView | null): Tensor {
    return this.#forward(tokens.ids, tokens.positions, tokens, lora)
  }

  step({ ids, positions, slots, cache }: CachedTokens, lora: LoraView | null): Tensor {
    return this.#forward(ids, positions, { cache, slots, positions }, lora)
  }

  logits(hidden: Tensor): Tensor {
    return loraLinear(hidden, this.head, [this.vocabularySize], { exactRows: true })
  }

  createCache(slots: number, positions: number): CacheHandle {
    const { key: heads, dim } = this.#shape.heads
    return this.runtime.native.kvCache(this.config.num_hidden_layers, slots, positions, heads, dim)
  }

  dispose(): void {
    for (const block of this.#blocks) block.dispose()
    this.#norm.dispose()
    this.#embedding.dispose()
    if (this.head !== this.#embedding) this.head.dispose()
  }

  #forward(ids: Int32Array, positions: Int32Array, layout: AttentionLayout, lora: LoraView | null): Tensor {
    const { runtime } = this
    const outside = ids.find((id) => id < 0 || id >= this.vocabularySize)
    if (outside !== undefined)
      throw new ShadowError(
        'invalid_request',
        `Token id ${outside} is outside the vocabulary of ${this.vocabularySize}.`,
      )
    const rotation = this.#rotary.at(runtime, positions)
    let x = this.#embedding.rows(runtime.fromInt32(ids))
    for (const block of this.#blocks) x = block.forward(x, rotation, layout, lora)
    return rmsNorm(x, this.#norm, this.#shape.normEps)
  }
}

/** Draws each tensor when it is asked for, with a key of its own, so that the order does not matter. */
class RandomWeights implements WeightSource {
  readonly #runtime: Runtime
  readonly #shapes: Map<string, readonly number[]>
  readonly #names: string[]
  readonly #seed: number

  constructor(runtime: Runtime, config: LlamaConfig, seed: number) {
    const shape = shapeOf(config)
    const matrix = [config.vocab_size, config.hidden_size]
    this.#runtime = runtime
    this.#seed = seed
    this.#shapes = new Map([
      ['model.embed_tokens.weight', matrix],
      ['model.norm.weight', [config.hidden_size]],
      ['lm_head.weight', matrix],
    ])
    for (let layer = 0; layer < config.num_hidden_layers; layer++) {
      const prefix = layerPrefix(layer)
      this.#shapes.set(`${prefix}.input_layernorm.weight`, [config.hidden_size])
      this.#shapes.set(`${prefix}.post_attention_layernorm.weight`, [config.hidden_size])
      for (const linear of Object.values(blockLinears(prefix, shape)).flat())
        this.#shapes.set(`${linear.path}.weight`, [linear.outFeatures, linear.inFeatures])
    }
    this.#names = [...this.#shapes.keys()]
  }

  has(name: string): boolean {
    return this.#shapes.has(name)
  }

  get(name: string): Weight | undefined {
    const shape = this.#shapes.get(name)
    if (shape === undefined) return undefined
    const size = shape.reduce((product, axis) => product * axis, 1)
    if (shape.length === 1) return { shape, data: new Float32Array(size).fill(1) }
    const data = this.#runtime.tidy(() => {
      const [own] = split(key(this.#runtime, this.#seed * 100_003 + this.#names.indexOf(name)))
      return multiply(normal(own, shape), 0.02).toFloat32Array()
    })
    return { shape, data }
  }
}
