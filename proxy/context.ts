/** What the handlers of one proxy share. */
import type { Logger } from 'pino'
import type { RouteSource, Upstream } from '../src/contract/index.ts'
import type { CaptureStore } from '../src/store/capture/index.ts'
import type { Redactor } from '../src/store/redaction/redactor.ts'
import type { Access } from './access.ts'
import type { ProxyLimits } from './limits.ts'
import type { Durations } from './metrics.ts'
import type { TaskRules } from './task-of.ts'

/** What happens to a call that can't be recorded: it is served and counted, or refused. */
export type Capturing = 'available' | 'strict'

/** What is taken out of a task's calls before they are written; answers from memory. */
export interface RedactionRules {
  /** Null where nothing is. */
  redactorOf(task: string): Redactor | null
}

export interface ProxyContext {
  /** The frontier. */
  readonly upstream: Upstream
  /** Others, by their names. */
  readonly upstreams: ReadonlyMap<string, Upstream>
  /** What answers for owned versions; null where nothing does. */
  readonly owned: Upstream | null
  readonly routes: RouteSource
  readonly store: CaptureStore
  readonly tasks: TaskRules
  readonly redaction: RedactionRules
  readonly logger: Logger
  readonly limits: ProxyLimits
  /** See `ProxyOptions`. */
  readonly capturing: Capturing
  readonly counts: ProxyCounts
  readonly durations: Durations
  readonly access: Access
  /** ULIDs that rise within this process. */
  newId(): string
}

/** Since the process started. */
export interface ProxyCounts {
  captured: number
  /** Calls that were answered but could not be recorded. */
  notCaptured: number
  /** Calls that strict mode declined, or whose end it withheld, because they could not be recorded. */
  refused: number
  passedThrough: number
  inFlight: number
}
