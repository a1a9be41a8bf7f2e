/** `shadow tasks set X key=value`: dotted keys into the one schema of a task. */
import type { z } from 'zod'
import { type TaskConfig, taskConfig } from '../contract/task.ts'
import { withoutAlias } from '../contract/train-config.ts'
import { ShadowError } from '../lib/error.ts'

/**
 * Applies `judge.model=x`, `train.max_steps=20`, `judge=null`, … to a config. A value is read as JSON where
 * it is JSON, and as text otherwise.
 * @throws ShadowError invalid_config naming the key
 */
export function applySettings(config: TaskConfig, settings: readonly string[]): TaskConfig {
  return applyTo(taskConfig, config, settings, 'See `shadow tasks X` for the keys and their present values.')
}

/**
 * The same for any config.
 * @param hint where the keys can be seen
 * @throws ShadowError invalid_config naming the key
 */
export function applyTo<Config extends object>(
  schema: z.ZodType<Config>,
  config: Config,
  settings: readonly string[],
  hint: string,
): Config {
  const changed: Record<string, unknown> = Object.fromEntries(Object.entries(structuredClone(config)))
  for (const setting of settings) {
    const equals = setting.indexOf('=')
    if (equals < 1) {
      throw new ShadowError('invalid_config', `"${setting}" is no setting.`, {
        hint: 'Write key=value, for instance judge.model=gpt-5 or gate.margin=0.01.',
      })
    }
    const path = setting.slice(0, equals).split('.')
    if (path.includes('__proto__'))
      throw new ShadowError('invalid_config', `There is no setting ${path.join('.')}.`)
    for (const [key, value] of settingsOf(path, parseValue(setting.slice(equals + 1))))
      assign(changed, key, value)
  }
  const parsed = schema.safeParse(changed)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const keys = issue?.code === 'unrecognized_keys' ? issue.keys : []
  const key = [...(issue?.path ?? []), ...keys].join('.')
  throw new ShadowError('invalid_config', `Setting ${key}: ${issue?.message ?? 'not valid'}.`, {
    hint,
    cause: parsed.error,
  })
}

/** A setting of the training may come under another of its names. */
function settingsOf(path: readonly string[], value: unknown): [string[], unknown][] {
  const [group, name, ...rest] = path
  if (group !== 'train' || name === undefined || rest.length > 0) return [[[...path], value]]
  return Object.entries(withoutAlias(name, value)).map(([key, own]) => [['train', key], own])
}

function assign(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [key, ...rest] = path
  if (key === undefined) return
  if (rest.length === 0) {
    target[key] = value
    return
  }
  const inner = target[key]
  const next: Record<string, unknown> = isRecord(inner) ? inner : {}
  target[key] = next
  assign(next, rest, value)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
