/** The upstreams that a server is given: flags first, then the environment. */
import { ShadowError } from '../lib/error.ts'

export interface UpstreamSetting {
  readonly baseUrl: string
  readonly apiKey: string | null
}

export interface UpstreamSettings {
  /** What answers where nothing else is said. */
  readonly frontier: UpstreamSetting
  readonly named: ReadonlyMap<string, UpstreamSetting>
}

const namedFlag = /^([a-z0-9][a-z0-9._-]*)=(https?:.*)$/i
const namedVariable = /^SHADOW_UPSTREAM_(.+?)(_KEY)?$/

/**
 * `URL` or `NAME=URL` each, and SHADOW_UPSTREAM, SHADOW_UPSTREAM_<NAME>, with keys in SHADOW_UPSTREAM_KEY and
 * SHADOW_UPSTREAM_<NAME>_KEY. Where no frontier is given, the upstream `openai` is it, or else the first.
 * OPENAI_BASE_URL is never read: in an agent's shell it points at Shadow itself.
 * @throws ShadowError invalid_config
 */
export function upstreamSettings(
  flags: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): UpstreamSettings {
  const urls = new Map<string, string>()
  for (const [variable, value] of Object.entries(env)) {
    const [, name, isKey] = namedVariable.exec(variable) ?? []
    if (name === undefined || name === 'KEY' || isKey !== undefined || !value) continue
    urls.set(name.toLowerCase().replaceAll('_', '-'), value)
  }
  let frontier = env['SHADOW_UPSTREAM'] || null
  for (const flag of flags) {
    const [, name, url] = namedFlag.exec(flag) ?? []
    if (name === undefined || url === undefined) frontier = flag
    else urls.set(name.toLowerCase(), url)
  }
  const named = new Map<string, UpstreamSetting>()
  for (const [name, url] of urls) named.set(name, { baseUrl: checked(url), apiKey: keyOf(name, env) })
  if (frontier !== null) {
    return { frontier: { baseUrl: checked(frontier), apiKey: env['SHADOW_UPSTREAM_KEY'] || null }, named }
  }
  const first = named.get('openai') ?? named.values().next().value
  if (first !== undefined) return { frontier: first, named }
  throw new ShadowError('invalid_config', 'Shadow needs to know which frontier it stands before.', {
    hint: 'Give --upstream URL (for instance https://api.openai.com/v1) or set SHADOW_UPSTREAM.',
  })
}

function keyOf(name: string, env: Readonly<Record<string, string | undefined>>): string | null {
  return env[`SHADOW_UPSTREAM_${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}_KEY`] || null
}

function checked(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text.replace(/\/+$/, '')
  throw new ShadowError('invalid_config', `"${text}" is no http(s) URL.`, {
    hint: 'Give the base URL that the agent used before, for instance https://api.openai.com/v1.',
  })
}
