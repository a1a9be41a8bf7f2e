/** Which of several upstreams answers a request. */
import type { Upstream } from '../src/contract/index.ts'
import { ShadowError } from '../src/lib/error.ts'
import type { ProxyContext } from './context.ts'
import { type Headers, headerOf } from './headers.ts'

export interface UpstreamQuestion {
  readonly task: string | null
  /** Name of the dialect; null for what is passed through. */
  readonly dialect: string | null
  readonly modelName: string
  readonly headers: Headers
}

export interface ChosenUpstream {
  readonly name: string
  /** Null where a task asks for one that isn't there. */
  readonly upstream: Upstream | null
  /** The model's name without the upstream's in front of it; null where the request's stays as it is. */
  readonly model: string | null
}

/**
 * In this order: the task's setting; a model `NAME/…` where NAME is an upstream's; the upstream `anthropic`, where
 * there is one, for what is in its dialect or has its version header; the frontier.
 */
export function chooseUpstream(
  { upstream, upstreams, tasks }: Pick<ProxyContext, 'upstream' | 'upstreams' | 'tasks'>,
  { task, dialect, modelName, headers }: UpstreamQuestion,
): ChosenUpstream {
  const frontier = { name: upstream.name, upstream, model: null }
  if (upstreams.size === 0 && tasks.upstreamOf === undefined) return frontier
  const set = task === null ? null : (tasks.upstreamOf?.(task) ?? null)
  if (set !== null) {
    return set === upstream.name ? frontier : { name: set, upstream: upstreams.get(set) ?? null, model: null }
  }
  const slash = modelName.indexOf('/')
  const prefixed = slash > 0 ? upstreams.get(modelName.slice(0, slash)) : undefined
  if (prefixed !== undefined) {
    return { name: prefixed.name, upstream: prefixed, model: modelName.slice(slash + 1) }
  }
  const isAnthropic = dialect === 'messages' || headerOf(headers, 'anthropic-version') !== null
  const anthropic = isAnthropic ? upstreams.get('anthropic') : undefined
  return anthropic === undefined ? frontier : { name: anthropic.name, upstream: anthropic, model: null }
}

export function unknownUpstream(name: string, task: string | null): ShadowError {
  return new ShadowError(
    'invalid_config',
    `Task ${task ?? ''} asks for the upstream "${name}", which is not there.`,
    {
      hint: `Start the server with --upstream ${name}=URL, or run \`shadow tasks set ${task ?? 'NAME'} upstream=null\`.`,
    },
  )
}
