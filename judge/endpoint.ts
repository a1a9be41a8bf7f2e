/** Which endpoints are the same judge. */
import type { JudgeEndpoint } from '../src/contract/index.ts'

const loopback = new Set(['localhost', '127.0.0.1', '[::1]'])

/** Base URL and model in one form: host in lower case, one name for this machine, no trailing slash, no default port. */
export function normaliseEndpoint({ baseUrl, model }: Pick<JudgeEndpoint, 'baseUrl' | 'model'>): string {
  const url = new URL(baseUrl)
  if (loopback.has(url.hostname)) url.hostname = 'localhost'
  return `${url.protocol}//${url.host}${url.pathname.replace(/\/+$/, '')}${url.search} ${model}`
}
