/** The honesty rule: a setting that does nothing in this training is refused or said. */
import type { TrainConfig } from '../src/contract/train-config.ts'
import { trainConfigFields } from '../src/contract/train-config.ts'
import { ShadowError } from '../src/lib/error.ts'

const loraSettings = [
  'lora_r',
  'lora_alpha',
  'lora_dropout',
  'target_modules',
  'use_rslora',
  'use_dora',
  'rank_pattern',
  'alpha_pattern',
] as const

/**
 * @returns a sentence for each setting that was changed from its default and has no effect
 * @throws ShadowError invalid_config for one that needs another
 */
export function checkSettings(
  config: TrainConfig,
  { evaluates, loads }: { evaluates: boolean; loads: boolean },
): string[] {
  if (!evaluates) {
    for (const name of ['early_stopping_patience', 'load_best_model_at_end'] as const) {
      if (config[name] === null || config[name] === false) continue
      throw new ShadowError('invalid_config', `${name} needs an evaluation, and there is none.`, {
        hint: 'Set eval_dataset, to "auto" for instance, and give more than one row.',
      })
    }
  }
  if (config.load_in_4bit && config.load_in_8bit)
    throw new ShadowError('invalid_config', 'load_in_4bit and load_in_8bit exclude each other.')
  const defaults = trainConfigFields.parse({})
  const changed = (name: keyof TrainConfig): boolean =>
    JSON.stringify(config[name]) !== JSON.stringify(defaults[name])
  const without = (name: keyof TrainConfig, useless: boolean, why: string): string[] =>
    useless && changed(name) ? [`${name} has no effect: ${why}`] : []
  const full = config.adapter === 'full'
  return [
    ...loraSettings.flatMap((name) => without(name, full, 'adapter is full')),
    ...(['load_in_4bit', 'load_in_8bit', 'bf16'] as const).flatMap((name) =>
      without(name, !loads, 'the model is loaded already'),
    ),
    ...without(
      'report_to',
      true,
      `${config.report_to.join(', ')} cannot be reached; metrics are in metrics.ndjson`,
    ),
    ...without('loss_on', config.method === 'cpt', 'cpt learns every token'),
    ...without('eval_steps', !evaluates, 'there is no evaluation'),
    ...without(
      'early_stopping_threshold',
      config.early_stopping_patience === null,
      'early_stopping_patience is not set',
    ),
    ...without('warmup_steps', config.warmup_ratio !== null, 'warmup_ratio overrides it'),
    ...without('num_train_epochs', config.max_steps !== null, 'max_steps overrides it'),
  ]
}
