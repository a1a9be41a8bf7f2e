/** What a request says of the run that it belongs to: its headers first, then its body. */
import type { SplitRequest } from '../src/dialects/index.ts'
import { type Headers, headerOf } from './headers.ts'

export interface RunIdentity {
  /** What the agent calls the session; null where nothing names it. */
  readonly session: string | null
  /** Which of the run's agents calls, where several share a session. */
  readonly agent: string | null
  readonly parentAgent: string | null
}

/** Headers that name a session, the first that is there counts: Shadow's own, then those of known agents and gateways. */
const sessionHeaders = [
  'x-session-id',
  'x-claude-code-session-id',
  'session-id',
  'session_id',
  'thread-id',
  'x-litellm-session-id',
  'helicone-session-id',
]

export function identityOf(headers: Headers, split: Pick<SplitRequest, 'session'>): RunIdentity {
  const name = sessionHeaders.find((header) => headerOf(headers, header) !== null)
  const thread = name === 'thread-id' ? null : headerOf(headers, 'thread-id')
  return {
    session: name === undefined ? split.session : headerOf(headers, name),
    agent: headerOf(headers, 'x-claude-code-agent-id') ?? thread,
    parentAgent: headerOf(headers, 'x-claude-code-parent-agent-id'),
  }
}
