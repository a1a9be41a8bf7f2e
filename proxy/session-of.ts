/** What a request says of the run that it belongs to: its headers first, then its body. */
import type { SplitRequest } from '../src/dialects/index.ts'
import type { Headers } from './headers.ts'

export interface RunIdentity {
  /** What the agent calls the session; null where nothing names it. */
  readonly session: string | null
  /** Which of the run's agents calls, where several share a session. */
  readonly agent: string | null
  readonly parentAgent: string | null
}

const agentHeader = 'x-claude-code-agent-id'
const parentAgentHeader = 'x-claude-code-parent-agent-id'
const threadHeader = 'thread-id'

/** Headers that name a session, the first that is there counts: Shadow's own, then those of known agents and gateways. */
const sessionHeaders = [
  'x-session-id',
  'x-claude-code-session-id',
  'session-id',
  'session_id',
  threadHeader,
  'x-litellm-session-id',
  'helicone-session-id',
]

/** All of them, looked up once for each header of a request. */
const known = new Set([...sessionHeaders, agentHeader, parentAgentHeader])

export function identityOf(headers: Headers, split: Pick<SplitRequest, 'session'>): RunIdentity {
  const given = new Map<string, string>()
  for (const [name, value] of headers) {
    const lower = name.toLowerCase()
    if (known.has(lower) && !given.has(lower)) given.set(lower, value.trim())
  }
  const valueOf = (name: string) => given.get(name) || null
  const name = sessionHeaders.find((header) => valueOf(header) !== null)
  const thread = name === threadHeader ? null : valueOf(threadHeader)
  return {
    session: name === undefined ? split.session : valueOf(name),
    agent: valueOf(agentHeader) ?? thread,
    parentAgent: valueOf(parentAgentHeader),
  }
}
