/** The wire formats that Shadow reads, in the order in which they are asked whether a path is theirs. */
import { chat } from './chat.ts'
import { completions } from './completions.ts'
import type { Dialect } from './dialect.ts'
import { messages } from './messages.ts'
import { responses } from './responses.ts'

export type {
  CanonicalWalk,
  Dialect,
  SplitReply,
  SplitRequest,
  StreamAssembler,
} from './dialect.ts'
export { chat, responses }

export const dialects: readonly Dialect[] = [chat, responses, messages, completions]

/** The dialect whose calls are kept under this path; undefined for what is passed through uncaptured. */
export function dialectOf(method: string, path: string): Dialect | undefined {
  // Clients put a base URL's slash and a path's one after the other, and servers overlook it.
  const plain = /\/\/|.\/$/.test(path) ? path.replace(/\/{2,}/g, '/').replace(/\/$/, '') : path
  return dialects.find((dialect) => dialect.recognises(method, plain))
}
