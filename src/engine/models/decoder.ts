/** The one language model of this engine: token embedding, decoder blocks, a last norm and the LM head. */
import { ShadowError } from '../../lib/error.ts'
import type { CacheHandle, DecoderSpec } from '../native/addon.ts'
import { DecoderBlock } from '../nn/decoder-block.ts'
import type { AdapterView } from '../nn/adapter-view.ts'
import type { BaseTensor } from '../nn/base-tensor.ts'
import type { LinearSpec } from '../nn/projections.ts'
import { RmsNorm } from '../nn/rms-norm.ts'
import { RotaryEmbedding } from '../nn/rotary.ts'
import { takeMatrix, type WeightSource } from '../nn/weights.ts'
import type { FrozenMatrix } from '../tensor/frozen-matrix.ts'
import { embedding, loraLinear } from '../tensor/fused.ts'
import { checkpoint, multiply } from '../tensor/ops.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { type Architecture, architectureLinears, layerPrefix } from './architecture.ts'
import type { CausalLM, PackedTokens, StepPlan } from './causal-lm.ts'
import { checkIds, DecoderStepPlan } from './decoder-step-plan.ts'

export class DecoderForCausalLM implements CausalLM {
  readonly runtime: Runtime
  readonly architecture: Architecture
  readonly vocabularySize: number
  readonly contextLength: number
  readonly sharedLength: number
  readonly linears: readonly LinearSpec[]
  readonly head: FrozenMatrix
  readonly #embedding: FrozenMatrix
  readonly #norm: RmsNorm
  readonly #blocks: readonly DecoderBlock[]
  readonly #rotaries: readonly RotaryEmbedding[]

  /**
   * @param source tensors under Hugging Face's names and layout (q and k not permuted), f32.
   * @throws ShadowError `invalid_config`, `invalid_file`.
   */
  constructor(runtime: Runtime, architecture: Architecture, source: WeightSource) {
    const { vocabularySize, hiddenSize, normEps, normOffset } = architecture
    this.runtime = runtime
    this.architecture = architecture
    this.vocabularySize = vocabularySize
    this.#rotaries = architecture.rotations.map((settings) => new RotaryEmbedding(settings))
    this.sharedLength = Math.min(...this.#rotaries.map((rotary) => rotary.steadyLength))
    this.contextLength = Math.min(architecture.maxPositions, this.sharedLength)
    const matrix = (name: string): FrozenMatrix =>
      takeMatrix(runtime, source, name, [vocabularySize, hiddenSize])
    this.#embedding = matrix('model.embed_tokens.weight')
    this.#norm = new RmsNorm(runtime, source, 'model.norm', hiddenSize, { eps: normEps, offset: normOffset })
    this.head = architecture.tiedEmbeddings ? this.#embedding : matrix('lm_head.weight')
    this.#blocks = architecture.layers.map(
      (spec, layer) => new DecoderBlock(runtime, source, layerPrefix(layer), spec),
    )
    this.linears = architectureLinears(architecture)
  }

  hidden(tokens: PackedTokens, view: AdapterView | null, checkpointed?: readonly Tensor[]): Tensor {
    const { runtime } = this
    const { embeddingScale, layers } = this.architecture
    checkIds(tokens.ids, this.vocabularySize)
    const rotations = this.#rotaries.map((rotary) => rotary.at(runtime, tokens.positions, tokens))
    const indices = runtime.fromInt32(tokens.ids)
    const trained = view?.weights?.get(this.#embedding.tensor)
    const embedded = trained === undefined ? this.#embedding.rows(indices) : embedding(trained, indices)
    let x = embeddingScale === 1 ? embedded : multiply(embedded, embeddingScale)
    this.#blocks.forEach((block, layer) => {
      const rotation = rotations[layers[layer]?.rotation ?? -1] ?? null
      const output = block.forward(x, rotation, tokens, view)
      x = checkpointed === undefined ? output : checkpoint(output, [x, ...checkpointed])
    })
    return this.#norm.apply(x, view)
  }

  plan(view: AdapterView | null): StepPlan {
    const { runtime } = this
    const spec = (): DecoderSpec => ({
      embedding: this.#embedding.tensor.handle,
      embeddingPacking: this.#embedding.packing,
      embeddingScale: this.architecture.embeddingScale,
      blocks: this.#blocks.map((block) => block.plan(view)),
      norm: this.#norm.plan(),
      head: this.head.tensor.handle,
      headPacking: this.head.packing,
    })
    const handle = runtime.tidy(() => runtime.native.decoderPlan(spec()))
    return new DecoderStepPlan(runtime, handle, this.#rotaries, this.vocabularySize)
  }

  logits(hidden: Tensor): Tensor {
    return loraLinear(hidden, this.head, [this.vocabularySize], { exactRows: true })
  }

  createCache(slots: number, positions: number): CacheHandle {
    const { layers } = this.architecture
    const { key = 0, dim = 0 } = layers[0]?.heads ?? {}
    return this.runtime.native.kvCache(layers.length, slots, positions, key, dim)
  }

  rowNorms(path: string): Float32Array {
    for (const block of this.#blocks) {
      const norms = block.rowNorms(path)
      if (norms !== null) return norms
    }
    throw new ShadowError('invalid_request', `The model has no layer ${path}.`)
  }

  baseTensors(): BaseTensor[] {
    const matrix = (name: string, { tensor, packing }: FrozenMatrix): BaseTensor => ({
      tensor,
      packing,
      parts: [{ name, shape: [this.vocabularySize, this.architecture.hiddenSize] }],
    })
    return [
      matrix('model.embed_tokens.weight', this.#embedding),
      ...this.#blocks.flatMap((block) => block.baseTensors()),
      this.#norm.baseTensor(),
      ...(this.head === this.#embedding ? [] : [matrix('lm_head.weight', this.head)]),
    ]
  }

  dispose(): void {
    for (const block of this.#blocks) block.dispose()
    this.#norm.dispose()
    this.#embedding.dispose()
    if (this.head !== this.#embedding) this.head.dispose()
  }
}
