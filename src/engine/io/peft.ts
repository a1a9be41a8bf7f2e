/**
 * LoRA adapters in PEFT's format: a folder with `adapter_config.json` and `adapter_model.safetensors`, in which
 * each tensor's name has the prefix `base_model.model.`.
 */
import { join } from 'node:path'
import { z } from 'zod'
import { ShadowError } from '../../lib/error.ts'
import { writeFileAtomically } from '../../lib/files.ts'
import { type LoraAdapter, type LoraConfig, loraConfig, pairProblem } from './adapter.ts'
import { fileProblem } from './file-problem.ts'
import { readJsonObject } from './json-file.ts'
import { encodeSafetensors, openSafetensors, type TensorData, tensorData } from './safetensors.ts'

const configFile = 'adapter_config.json'
const damagedHint =
  'The adapter is damaged or of a kind that is not supported; export it again as plain LoRA.'
const tensorFile = 'adapter_model.safetensors'
const prefix = 'base_model.model.'

/** What a plain LoRA adapter says of itself, for PEFT to load it. */
const plainFields = {
  alpha_pattern: {},
  auto_mapping: null,
  bias: 'none',
  fan_in_fan_out: false,
  inference_mode: true,
  init_lora_weights: true,
  layers_pattern: null,
  layers_to_transform: null,
  modules_to_save: null,
  rank_pattern: {},
  revision: null,
  task_type: 'CAUSAL_LM',
  use_dora: false,
}

/** Fields that change what an adapter computes and that are not honoured, with their harmless values. */
const refusedFields: Readonly<Record<string, readonly unknown[]>> = {
  // Others (pissa, olora, corda, loftq, lora_ga) change the base, which the adapter alone does not say.
  init_lora_weights: [true, false, null, 'gaussian', 'eva', 'orthogonal'],
  bias: ['none'],
  fan_in_fan_out: [false],
  use_qalora: [false],
  use_bdlora: [false, null],
  lora_bias: [false],
  modules_to_save: [null],
  layer_replication: [null],
  trainable_token_indices: [null],
  target_parameters: [null],
  alora_invocation_tokens: [null],
  arrow_config: [null],
  kasa_config: [null],
  monteclora_config: [null],
  velora_config: [null],
}

/**
 * Writes an adapter. The tensors go first and the config last, each atomically, so that a folder with a
 * config is complete. The same adapter always gives the same bytes.
 * @throws ShadowError `invalid_request` if the tensors are not pairs of rank `config.r`
 */
export async function saveAdapter(folder: string, adapter: LoraAdapter): Promise<void> {
  const problem = pairProblem(adapter)
  if (problem !== undefined)
    throw new ShadowError('invalid_request', `The adapter cannot be saved: ${problem}.`)
  const named = new Map([...adapter.tensors].map(([name, tensor]) => [prefix + name, tensor]))
  await writeFileAtomically(join(folder, tensorFile), encodeSafetensors(named, { format: 'pt' }))
  const fields = Object.entries({ ...plainFields, ...adapter.config }).toSorted(([a], [b]) =>
    a < b ? -1 : 1,
  )
  const json = JSON.stringify(Object.fromEntries(fields), null, 2)
  await writeFileAtomically(join(folder, configFile), json)
}

/**
 * Reads an adapter that PEFT or Shadow wrote.
 * @throws ShadowError `not_found`, or `invalid_file` naming the file and the field
 */
export function loadAdapter(folder: string): LoraAdapter {
  const config = loadConfig(join(folder, configFile))
  const path = join(folder, tensorFile)
  using file = openSafetensors(path)
  const tensors = new Map<string, TensorData>()
  for (const [name, stored] of file.tensors) {
    if (!name.startsWith(prefix)) throw invalid(path, `tensor ${name}`, `does not start with ${prefix}`)
    tensors.set(name.slice(prefix.length), tensorData(stored))
  }
  const problem = pairProblem({ config, tensors })
  if (problem !== undefined) throw invalid(path, 'tensors', problem)
  return { config, tensors }
}

function loadConfig(path: string): LoraConfig {
  const content = readJsonObject(path, damagedHint)
  const parsed = loraConfig.safeParse(content)
  if (!parsed.success) throw invalid(path, 'content', z.prettifyError(parsed.error))
  for (const [field, harmless] of Object.entries(refusedFields))
    if (field in parsed.data && !harmless.includes(parsed.data[field]))
      throw invalid(path, field, `${JSON.stringify(parsed.data[field])} is not supported`)
  return parsed.data
}

function invalid(path: string, field: string, problem: string): ShadowError {
  return fileProblem(path, field, problem, damagedHint)
}
