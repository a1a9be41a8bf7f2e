/** The pre-norm transformer block that Llama and its relatives share. */
import type { CacheHandle } from '../native/addon.ts'
import { attention, cachedAttention, type Heads, rmsNorm, type Runs, rope, swiglu } from '../tensor/fused.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { type LinearSpec, type LoraView, Projections } from './projections.ts'
import type { Rotation } from './rotary.ts'
import { takeWeight, type WeightSource } from './weights.ts'

export interface BlockShape {
  hiddenSize: number
  intermediateSize: number
  heads: Heads
  normEps: number
}

/** Rows of running sequences. */
export interface CachedLayout {
  cache: CacheHandle
  slots: Int32Array
  positions: Int32Array
}

export type AttentionLayout = Runs | CachedLayout

/** The linear layers of one block, by what they read. */
export function blockLinears(prefix: string, shape: BlockShape) {
  const { heads, hiddenSize, intermediateSize } = shape
  const linear = (name: string, inFeatures: number, outFeatures: number): LinearSpec => ({
    path: `${prefix}.${name}`,
    inFeatures,
    outFeatures,
  })
  return {
    qkv: [
      linear('self_attn.q_proj', hiddenSize, heads.query * heads.dim),
      linear('self_attn.k_proj', hiddenSize, heads.key * heads.dim),
      linear('self_attn.v_proj', hiddenSize, heads.key * heads.dim),
    ],
    output: [linear('self_attn.o_proj', heads.query * heads.dim, hiddenSize)],
    gateUp: [
      linear('mlp.gate_proj', hiddenSize, intermediateSize),
      linear('mlp.up_proj', hiddenSize, intermediateSize),
    ],
    down: [linear('mlp.down_proj', intermediateSize, hiddenSize)],
  }
}

/** x + o(attention(rope(qkv(norm x)))), then x + down(swiglu(gateUp(norm x))). */
export class DecoderBlock {
  readonly #shape: BlockShape
  readonly #layer: number
  readonly #inputNorm: Tensor
  readonly #postNorm: Tensor
  readonly #qkv: Projections
  readonly #output: Projections
  readonly #gateUp: Projections
  readonly #down: Projections

  constructor(runtime: Runtime, source: WeightSource, prefix: string, layer: number, shape: BlockShape) {
    const norm = (name: string): Tensor =>
      runtime.keep(runtime.fromFloat32(takeWeight(source, `${prefix}.${name}.weight`, [shape.hiddenSize])))
    const linears = blockLinears(prefix, shape)
    this.#shape = shape
    this.#layer = layer
    this.#inputNorm = norm('input_layernorm')
    this.#postNorm = norm('post_attention_layernorm')
    this.#qkv = new Projections(runtime, source, linears.qkv)
    this.#output = new Projections(runtime, source, linears.output)
    this.#gateUp = new Projections(runtime, source, linears.gateUp)
    this.#down = new Projections(runtime, source, linears.down)
  }

  /** x (tokens, hiddenSize) → the same shape. */
  forward(x: Tensor, rotation: Rotation, layout: AttentionLayout, lora: LoraView | null): Tensor {
    const { heads, normEps } = this.#shape
    const exactRows = 'cache' in layout
    const options = { lora, exactRows }
    const qkv = this.#qkv.apply(rmsNorm(x, this.#inputNorm, normEps), options)
    const rotated = rope(qkv, rotation.cosines, rotation.sines, heads.query + heads.key, heads.dim)
    const attended =
      'cache' in layout
        ? cachedAttention(rotated, layout.cache, this.#layer, layout.slots, layout.positions, heads)
        : attention(rotated, layout, heads)
    const middle = this.#output.apply(attended, { ...options, residual: x })
    const gateUp = this.#gateUp.apply(rmsNorm(middle, this.#postNorm, normEps), options)
    return this.#down.apply(swiglu(gateUp), { ...options, residual: middle })
  }

  dispose(): void {
    for (const part of [this.#inputNorm, this.#postNorm, this.#qkv, this.#output, this.#gateUp, this.#down])
      part.dispose()
  }
}
