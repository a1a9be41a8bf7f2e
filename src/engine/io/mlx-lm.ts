/**
 * LoRA adapters in mlx-lm's format: a folder with `adapter_config.json` and `adapters.safetensors`. A layer's
 * factors are `<path>.lora_a` (in, r) and `<path>.lora_b` (r, out), transposed against PEFT's; the product is
 * scaled by one number `scale` = α/r; DoRA's row norms are `<path>.m`.
 */
import { join } from 'node:path'
import { z } from 'zod'
import { ShadowError } from '../../lib/error.ts'
import { writeFileAtomically } from '../../lib/files.ts'
import { type LoraAdapter, type LoraConfig, loraModules, pairProblem } from './adapter.ts'
import { fileProblem } from './file-problem.ts'
import { readJsonObject } from './json-file.ts'
import { encodeSafetensors, openSafetensors, type TensorData, tensorData } from './safetensors.ts'

const configFile = 'adapter_config.json'
const damagedHint = 'The adapter is damaged or was not written by mlx-lm; fetch it again.'
/** What tells its folders from PEFT's. */
export const mlxTensorFile = 'adapters.safetensors'

const mlxConfig = z.looseObject({
  fine_tune_type: z.enum(['lora', 'dora']).default('lora'),
  lora_parameters: z.looseObject({
    rank: z.int().positive(),
    scale: z.number().positive(),
    dropout: z.number().min(0).max(1).default(0),
  }),
  /** The base model, a folder or a hub id. */
  model: z.string().nullish(),
})

/**
 * Writes an adapter for mlx-lm; the config goes last, so that a folder with one is complete. Tensors are
 * transposed and otherwise untouched.
 * @throws ShadowError `invalid_request` for an adapter with several ranks or scales, which mlx-lm has no place for
 */
export async function saveMlxAdapter(folder: string, adapter: LoraAdapter): Promise<void> {
  const modules = loraModules(adapter)
  const rank = modules[0]?.a.shape[0] ?? 0
  const scale = modules[0]?.scale ?? 0
  if (modules.some((lora) => lora.a.shape[0] !== rank || lora.scale !== scale))
    throw new ShadowError(
      'invalid_request',
      'mlx-lm has one rank and one scale for all layers of an adapter.',
      {
        hint: 'Export this adapter merged (--format hf), or train without rank_pattern and alpha_pattern.',
      },
    )
  const tensors = new Map<string, TensorData>()
  for (const { module, a, b, magnitude } of modules) {
    tensors.set(`${module}.lora_a`, transposed(a))
    tensors.set(`${module}.lora_b`, transposed(b))
    if (magnitude !== undefined) tensors.set(`${module}.m`, magnitude)
  }
  const keys = [...new Set(modules.map(({ module }) => module.replace(/^.*\.layers\.\d+\./, '')))].toSorted()
  const { config } = adapter
  const written = {
    fine_tune_type: config.use_dora ? 'dora' : 'lora',
    ...(typeof config.base_model_name_or_path === 'string' && { model: config.base_model_name_or_path }),
    // All of them; layers without factors of their own stay as the base is.
    num_layers: -1,
    lora_parameters: { rank, scale, dropout: config.lora_dropout, keys },
  }
  await writeFileAtomically(join(folder, mlxTensorFile), encodeSafetensors(tensors))
  await writeFileAtomically(join(folder, configFile), JSON.stringify(written, null, 4))
}

/**
 * Reads an adapter that mlx-lm or Shadow wrote, in PEFT's names and layout; `lora_alpha` is scale · rank.
 * @throws ShadowError `not_found`, or `invalid_file` naming the file and the field
 */
export function loadMlxAdapter(folder: string): LoraAdapter {
  const mlx = readConfig(join(folder, configFile))
  const { rank, scale, dropout } = mlx.lora_parameters
  const path = join(folder, mlxTensorFile)
  using file = openSafetensors(path)
  const tensors = new Map<string, TensorData>()
  const modules = new Set<string>()
  for (const [name, stored] of file.tensors) {
    const [, module, part] = /^(.+)\.(lora_a|lora_b|m)$/.exec(name) ?? []
    if (module === undefined || part === undefined)
      throw invalid(path, `tensor ${name}`, 'is neither lora_a, lora_b nor m')
    modules.add(module.split('.').at(-1) ?? module)
    const tensor = tensorData(stored)
    if (part === 'm') tensors.set(`${module}.lora_magnitude_vector`, tensor)
    else if (stored.shape.length !== 2) throw invalid(path, `tensor ${name}`, 'is not a matrix')
    else tensors.set(`${module}.lora_${part === 'lora_a' ? 'A' : 'B'}.weight`, transposed(tensor))
  }
  const config: LoraConfig = {
    peft_type: 'LORA',
    r: rank,
    lora_alpha: scale * rank,
    lora_dropout: dropout,
    use_rslora: false,
    use_dora: mlx.fine_tune_type === 'dora',
    target_modules: [...modules].toSorted(),
    ...(typeof mlx.model === 'string' && { base_model_name_or_path: mlx.model }),
  }
  const problem = pairProblem({ config, tensors })
  if (problem !== undefined) throw invalid(path, 'tensors', problem)
  return { config, tensors }
}

function readConfig(path: string): z.infer<typeof mlxConfig> {
  const content = readJsonObject(path, damagedHint)
  const parsed = mlxConfig.safeParse(content)
  if (!parsed.success) throw invalid(path, 'content', z.prettifyError(parsed.error))
  return parsed.data
}

/** (rows, columns) → (columns, rows) */
function transposed({ shape, data, ...rest }: TensorData): TensorData {
  const [rows = 0, columns = 0] = shape
  const out = new Float32Array(data.length)
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      out[column * rows + row] = data[row * columns + column] ?? 0
  return { ...rest, shape: [columns, rows], data: out }
}

function invalid(path: string, field: string, problem: string): ShadowError {
  return fileProblem(path, field, problem, damagedHint)
}
