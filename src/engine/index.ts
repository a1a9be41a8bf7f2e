/**
 * The engine's public face. Importing it loads no native code; `new Runtime()` does.
 */
export { type ErrorCode, ShadowError } from '../lib/error.ts'
export type { Adapter } from './adapters/adapter.ts'
export { FullFineTuning } from './adapters/full.ts'
export { LoraAdapter } from './adapters/lora.ts'
export type { LoraConfig, TargetModules } from './adapters/lora-config.ts'
export { type CausalLM, pack, type PackedTokens } from './models/causal-lm.ts'
export { LlamaForCausalLM, type LlamaConfig } from './models/llama.ts'
export { encodeSafetensors, openSafetensors, type TensorData } from './io/safetensors.ts'
export { readAdapterFolder } from './io/adapter-folder.ts'
export type { ExportFormat } from './io/export.ts'
export { fit, type TrainExample, type TrainOptions, type TrainStep } from './fit.ts'
export {
  type AdapterOptions,
  type ChatOptions,
  type GenerateOptions,
  LanguageModel,
  load,
  type LoadOptions,
} from './language-model.ts'
export { chooseLayout, type LayoutOptions } from './choose-layout.ts'
export { gradientProblem } from './divergence.ts'
export { layoutDeviation } from './layout-deviation.ts'
export {
  describe,
  findModel,
  listModels,
  type LocalModel,
  modelsFolder,
  pulledFolder,
} from './local-models.ts'
export {
  chatTemplateOf,
  loadLora,
  loadModel,
  loadText,
  type ModelText,
  saveFullModel,
  saveLora,
} from './model-files.ts'
export { createModel, modelTypes } from './models/registry.ts'
export type { AdapterView } from './nn/adapter-view.ts'
export type { LinearSpec } from './nn/projections.ts'
export type { Weight, WeightSource } from './nn/weights.ts'
export { Reply, type ToolCall } from './reply.ts'
export { type OptimizerStep, takeOptimizerStep } from './optimizer-step.ts'
export { clipScale, GradientAccumulator, globalNorm, type MicroBatchResult } from './optim/accumulator.ts'
export { AdamW } from './optim/adamw.ts'
export { AdamW8bit } from './optim/adamw8bit.ts'
export type { AdamWOptions, AdamWState, Optimizer } from './optim/optimizer.ts'
export { Runtime, type RuntimeOptions } from './tensor/runtime.ts'
export { Tensor } from './tensor/tensor.ts'
export { type LossOptions, lossAndGradients, targetLogProbabilities, type TrainRow } from './train-step.ts'
export { partitionIntoTrees } from './tree/partition.ts'
export { passesOf } from './tree/passes.ts'
export { commonPrefix, prefixOrder } from './tree/prefix-order.ts'
export { buildTree, type LayoutName, type RowLayout } from './tree/token-tree.ts'
export { ChatTemplate } from './tokenizer/chat-template.ts'
export type { TemplateMessage, TemplateTool } from './tokenizer/chat-message.ts'
export { Tokenizer } from './tokenizer/tokenizer.ts'
export { type ParsedTokenizer, parseTokenizer, type TokenizerFiles } from './tokenizer/tokenizer-file.ts'
export { parseToolCalls } from './tokenizer/tool-text.ts'
export { GenerationScheduler, type SchedulerOptions } from './sample/scheduler.ts'
export type { GenerateRequest, GenerateResult } from './sample/request.ts'
