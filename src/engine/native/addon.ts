/**
 * The native addon as TypeScript sees it, and how it is found. Nothing else in the engine touches it:
 * `Runtime` (../tensor/runtime.ts) is its only user.
 */
import { createRequire } from 'node:module'
import { ShadowError, messageOf } from '../../lib/error.ts'
import { instructionSet, resolveAddonPath } from '../../setup/engine.mjs'

declare const arrayBrand: unique symbol
declare const cacheBrand: unique symbol
declare const planBrand: unique symbol
/** A native array; only the addon can look inside. */
export type ArrayHandle = { readonly [arrayBrand]: true }
/** Keys and values of running sequences. */
export type CacheHandle = { readonly [cacheBrand]: true }
/** A decoder laid out for generation. */
export type PlanHandle = { readonly [planBrand]: true }

type Unary = (x: ArrayHandle) => ArrayHandle
type Binary = (a: ArrayHandle, b: ArrayHandle) => ArrayHandle
/** No axes means all of them. */
type Reduction = (x: ArrayHandle, axes: readonly number[], keepDims: boolean) => ArrayHandle
type Sizes = readonly number[] | Int32Array

/** Native element types the engine makes. */
export type DType = 'float32' | 'int32' | 'uint32' | 'bool' | 'float16' | 'bfloat16'

/** How a packed matrix holds its elements: w = scale · code + bias, one scale and bias for `groupSize` of a row. */
export interface Packing {
  /** 16: plain bfloat16, without scales. */
  readonly bits: 4 | 8 | 16
  /** 32, 64 or 128. */
  readonly groupSize: number
  /** The type of scales and biases. */
  readonly scales: 'float16' | 'bfloat16' | 'float32'
  /**
   * What training multiplies in. `bfloat16` rounds both operands and sums in float32, where the processor has the
   * instruction; elsewhere, and in generation, products are float32. Default float32.
   */
  readonly products?: 'float32' | 'bfloat16'
}

/** `silu(x) = x·σ(x)`; `gelu_tanh` is GELU by its tanh formula (arXiv 1606.08415). */
export type Activation = 'silu' | 'gelu_tanh'

/** A decoder as the addon's plan is made from; what an adapter changes is in it. Arrays are float32 unless packed. */
export interface DecoderSpec {
  embedding: ArrayHandle
  embeddingPacking: Packing | null
  embeddingScale: number
  blocks: readonly BlockPlan[]
  norm: NormPlan
  head: ArrayHandle
  headPacking: Packing | null
}

export interface NormPlan {
  weight: ArrayHandle
  /** Added to the weight. */
  offset: number
  eps: number
}

/** Layers that read the same input; those of a stack lie in one matrix. */
export interface ProjectionsPlan {
  stacks: readonly {
    weight: ArrayHandle
    packing: Packing | null
    /** A (r, in) and B (outputs, r), or null for both; `scale` multiplies their product. */
    layers: readonly { outputs: number; a: ArrayHandle | null; b: ArrayHandle | null; scale: number }[]
    /** What the outputs are multiplied by, adapter included. */
    gain: ArrayHandle | null
  }[]
  bias: ArrayHandle | null
}

export interface BlockPlan {
  inputNorm: NormPlan
  mlpNorm: NormPlan
  attendedNorm: NormPlan | null
  mlpOutputNorm: NormPlan | null
  queryNorm: NormPlan | null
  keyNorm: NormPlan | null
  qkv: ProjectionsPlan
  output: ProjectionsPlan
  gateUp: ProjectionsPlan
  down: ProjectionsPlan
  queryHeads: number
  keyHeads: number
  headDim: number
  /** Of the scores. */
  scale: number
  /** Tokens that a token sees, itself included; 0: all. */
  window: number
  activation: Activation
  /** Which angles turn queries and keys; −1: none. */
  rotation: number
}

export interface NativeMemory {
  activeBytes: number
  peakBytes: number
  cacheBytes: number
}

export interface NativeAddon {
  fromFloat32(data: Float32Array, shape: Sizes): ArrayHandle
  fromInt32(data: Sizes, shape: Sizes): ArrayHandle
  full(shape: Sizes, value: number, dtype: DType): ArrayHandle
  toFloat32(x: ArrayHandle): Float32Array
  toInt32(x: ArrayHandle): Int32Array
  shape(x: ArrayHandle): number[]
  dtype(x: ArrayHandle): DType
  /** Tells the garbage collector how large the array is, once. */
  reportMemory(x: ArrayHandle): void
  dispose(x: ArrayHandle): void

  add: Binary
  subtract: Binary
  multiply: Binary
  divide: Binary
  maximum: Binary
  minimum: Binary
  power: Binary
  greater: Binary
  greaterEqual: Binary
  less: Binary
  equal: Binary
  matmul: Binary
  negative: Unary
  exp: Unary
  log: Unary
  sqrt: Unary
  rsqrt: Unary
  square: Unary
  abs: Unary
  sigmoid: Unary
  tanh: Unary
  sin: Unary
  cos: Unary
  stopGradient: Unary
  contiguous: Unary
  sum: Reduction
  mean: Reduction
  max: Reduction
  logsumexp: Reduction
  softmax: Reduction
  argmax(x: ArrayHandle, axis: number): ArrayHandle
  where(condition: ArrayHandle, yes: ArrayHandle, no: ArrayHandle): ArrayHandle
  reshape(x: ArrayHandle, shape: Sizes): ArrayHandle
  transpose(x: ArrayHandle, axes: Sizes): ArrayHandle
  broadcastTo(x: ArrayHandle, shape: Sizes): ArrayHandle
  slice(x: ArrayHandle, start: Sizes, stop: Sizes): ArrayHandle
  concatenate(xs: readonly ArrayHandle[], axis: number): ArrayHandle
  take(x: ArrayHandle, indices: ArrayHandle, axis: number): ArrayHandle
  takeAlongAxis(x: ArrayHandle, indices: ArrayHandle, axis: number): ArrayHandle
  astype(x: ArrayHandle, dtype: DType): ArrayHandle

  randomKey(seed: number): ArrayHandle
  randomSplit(key: ArrayHandle): [ArrayHandle, ArrayHandle]
  randomUniform(key: ArrayHandle, low: number, high: number, shape: Sizes): ArrayHandle
  randomNormal(key: ArrayHandle, shape: Sizes): ArrayHandle
  randomBernoulli(key: ArrayHandle, probability: number, shape: Sizes): ArrayHandle

  rmsNorm(x: ArrayHandle, weight: ArrayHandle, eps: number): ArrayHandle
  embedding(weight: ArrayHandle, ids: ArrayHandle): ArrayHandle
  gatedActivation(gateUp: ArrayHandle, activation: Activation): ArrayHandle
  rope(x: ArrayHandle, cosines: ArrayHandle, sines: ArrayHandle, heads: number, headDim: number): ArrayHandle
  attention(
    qkv: ArrayHandle,
    segments: Sizes,
    parents: Sizes,
    queryHeads: number,
    keyHeads: number,
    headDim: number,
    scale: number,
    window: number,
  ): ArrayHandle
  loraLinear(
    x: ArrayHandle,
    weight: ArrayHandle,
    outputs: Sizes,
    a: readonly (ArrayHandle | null)[],
    b: readonly (ArrayHandle | null)[],
    scale: number,
    residual: ArrayHandle | null,
    exactRows: boolean,
    packing: Packing | null,
  ): ArrayHandle
  linearCrossEntropy(
    hidden: ArrayHandle,
    weight: ArrayHandle,
    rows: ArrayHandle,
    targets: ArrayHandle,
    needsGradient: boolean,
    packing: Packing | null,
  ): ArrayHandle
  sampleRows(
    logits: ArrayHandle,
    temperatures: Float64Array,
    topPs: Float64Array,
    uniforms: Float64Array,
  ): [Int32Array, Float32Array]
  adamw(
    parameters: readonly ArrayHandle[],
    gradients: readonly ArrayHandle[],
    first: readonly ArrayHandle[],
    second: readonly ArrayHandle[],
    learningRate: number,
    beta1: number,
    beta2: number,
    eps: number,
    weightDecay: number,
    step: number,
    gradientScale: number,
  ): void
  adamw8(
    parameters: readonly ArrayHandle[],
    gradients: readonly ArrayHandle[],
    firstCodes: readonly Uint8Array[],
    firstScales: readonly Float32Array[],
    secondCodes: readonly Uint8Array[],
    secondScales: readonly Float32Array[],
    learningRate: number,
    beta1: number,
    beta2: number,
    eps: number,
    weightDecay: number,
    step: number,
    gradientScale: number,
  ): void
  packMoments(values: Float32Array, codes: Uint8Array, scales: Float32Array, signed: boolean): void
  unpackMoments(codes: Uint8Array, scales: Float32Array, signed: boolean): Float32Array<ArrayBuffer>
  globalNorm(arrays: readonly ArrayHandle[]): number
  copyInPlace(into: readonly ArrayHandle[], from: readonly ArrayHandle[]): void
  addInPlace(into: readonly ArrayHandle[], from: readonly ArrayHandle[]): void

  kvCache(layers: number, slots: number, positions: number, heads: number, dim: number): CacheHandle
  kvCacheCopyPrefix(cache: CacheHandle, from: number, to: number, length: number): void
  kvCacheDispose(cache: CacheHandle): void
  decoderPlan(spec: DecoderSpec): PlanHandle
  /** Feeds rows into the cache; logits (draws, vocabulary) of those that are drawn from. */
  decoderStep(
    plan: PlanHandle,
    cache: CacheHandle,
    ids: Sizes,
    positions: Sizes,
    slots: Sizes,
    cosines: readonly ArrayHandle[],
    sines: readonly ArrayHandle[],
    draws: Sizes,
  ): ArrayHandle
  decoderPlanDispose(plan: PlanHandle): void

  fromBytes(data: Uint8Array, shape: Sizes, dtype: DType): ArrayHandle
  /** A packed matrix as a dense float32 one. */
  unpack(packed: ArrayHandle, packing: Packing): ArrayHandle
  /** Rows of a packed matrix, (n) int32, as float32. */
  takeRows(packed: ArrayHandle, indices: ArrayHandle, packing: Packing): ArrayHandle
  /** Packed rows of 4 or 8 bits, as files bring them, as a packed matrix. */
  toPanels(rows: ArrayHandle, packing: Packing): ArrayHandle
  /** MLX's codes, scales and biases as packed rows. */
  packAffine(
    codes: ArrayHandle,
    scales: ArrayHandle,
    biases: ArrayHandle,
    bits: number,
    groupSize: number,
  ): ArrayHandle
  /** A float32 matrix with an even number of columns, rounded to bfloat16: (rows, columns / 2) uint32. */
  packBfloat16(w: ArrayHandle): ArrayHandle
  /** MLX's affine quantisation: codes, scales, biases. */
  quantize(w: ArrayHandle, bits: number, groupSize: number): ArrayHandle[]

  evaluate(arrays: readonly ArrayHandle[], sparing: boolean): void
  checkpoint(output: ArrayHandle, inputs: readonly ArrayHandle[]): ArrayHandle
  valueAndGrad(
    loss: (parameters: ArrayHandle[]) => ArrayHandle[],
    parameters: readonly ArrayHandle[],
  ): [ArrayHandle[], ArrayHandle[]]
  threads(): number
  setThreads(count: number): void
  blas(): string
  /** What the kernels use: avx512-bf16, avx512, avx2, neon or portable. */
  instructions(): string
  memory(): NativeMemory
  resetPeakMemory(): void
  setCacheLimit(bytes: number): void
  clearCache(): void
}

/** Names that must be there for a module to count as this addon; one from each source file. */
const landmarks = [
  'fromFloat32',
  'add',
  'loraLinear',
  'sampleRows',
  'valueAndGrad',
  'kvCache',
  'decoderPlan',
  'packAffine',
  'memory',
]

function isAddon(value: unknown): value is NativeAddon {
  if (typeof value !== 'object' || value === null) return false
  return landmarks.every((name) => typeof Reflect.get(value, name) === 'function')
}

/**
 * OpenBLAS picks its kernels for the CPU it finds, unless a variable names others. Machines that pin that variable
 * for other programs (to an AVX2 core, say) would halve the speed of training, so the engine's private copy listens
 * to `SHADOW_BLAS_CORE` alone. OpenBLAS reads its variable once, when it is loaded.
 */
function chooseBlasKernels(): void {
  const wanted = process.env['SHADOW_BLAS_CORE']
  if (wanted === undefined) delete process.env['OPENBLAS_CORETYPE']
  else process.env['OPENBLAS_CORETYPE'] = wanted
}

/** Every native failure becomes a ShadowError here, so that no caller has to know the addon's. */
function withShadowErrors(addon: NativeAddon): NativeAddon {
  const guarded = new Map<PropertyKey, unknown>()
  return new Proxy(addon, {
    get(target, key) {
      const known = guarded.get(key)
      if (known !== undefined) return known
      const native: unknown = Reflect.get(target, key)
      if (typeof native !== 'function') return native
      const call = (...args: unknown[]): unknown => {
        try {
          return Reflect.apply(native, target, args)
        } catch (thrown) {
          throw asShadowError(thrown)
        }
      }
      guarded.set(key, call)
      return call
    },
  })
}

function asShadowError(thrown: unknown): unknown {
  if (thrown instanceof ShadowError) return thrown
  const code: unknown = thrown instanceof Error ? Reflect.get(thrown, 'code') : undefined
  if (code === 'out_of_memory')
    return new ShadowError('out_of_memory', messageOf(thrown), {
      hint: 'Lower max_tokens_per_pass, or the number of sequences that are generated together.',
      cause: thrown,
    })
  if (code === 'engine_failed') return new ShadowError('engine_failed', messageOf(thrown), { cause: thrown })
  return thrown
}

/**
 * Loads the addon. Its path comes from `SHADOW_ENGINE_ADDON`, or else from what the set-up built.
 * @throws ShadowError `missing_prerequisite` when it was not built, `engine_failed` when it does not load.
 */
export function loadAddon(): NativeAddon {
  const path = process.env['SHADOW_ENGINE_ADDON'] ?? resolveAddonPath()
  if (path === undefined)
    throw new ShadowError('missing_prerequisite', 'The engine is not built yet.', {
      hint: 'Run `npm run demo` or `npm test` once, or `shadow doctor` to see what is missing.',
    })
  const { name, missing } = instructionSet()
  if (missing !== undefined) process.emitWarning(`${missing}; the engine uses ${name} instructions.`)
  chooseBlasKernels()
  let loaded: unknown
  try {
    loaded = createRequire(import.meta.url)(path)
  } catch (thrown) {
    throw new ShadowError('engine_failed', `The engine's addon does not load: ${messageOf(thrown)}`, {
      hint: 'Run `shadow doctor`; deleting the cache folder it names makes the next start build the addon again.',
      cause: thrown,
    })
  }
  if (!isAddon(loaded))
    throw new ShadowError('engine_failed', `${path} is not this version's addon.`, {
      hint: 'Unset SHADOW_ENGINE_ADDON, or build the addon again.',
    })
  return withShadowErrors(loaded)
}
