/** A deletion from the event loop's side: step after step in the ingesting thread, calls being brought in between. */
import type { CallSelection, DeletionPlan, DeletionResult } from '../../contract/index.ts'
import type { KeyedHash } from '../../lib/hash.ts'
import type { StoredSelection } from './deletion.ts'
import type { IngestThread } from './ingest-thread.ts'

/** Calls of one transaction: few, so that calls that come meanwhile are in the tables soon. */
const callsPerStep = 50

/** How often the log is tried to be emptied while another process reads. */
const scrubsAtMost = 10

export function storedSelectionOf(hash: KeyedHash, selection: CallSelection): StoredSelection {
  const { credentials, ...same } = selection
  if (credentials === undefined) return same
  const keyHashes = credentials.map((credential) => hash.of('credential', credential).toString('hex'))
  return { ...same, keyHashes }
}

/** What a deletion would take. */
export async function planDeletion(thread: IngestThread, selection: StoredSelection): Promise<DeletionPlan> {
  const { plan } = await thread.ask({ kind: 'choose', selection })
  return plan ?? { calls: 0, sessions: 0, tasks: [] }
}

/**
 * Deletes what is in the tables now.
 * @param keepIndexes whether another deletion follows soon, which then needn't make ready again
 * @throws ShadowError store_failed; what was deleted until then is, and the same again goes on
 */
export async function deleteCalls(
  thread: IngestThread,
  selection: StoredSelection,
  keepIndexes = false,
): Promise<DeletionResult> {
  const plan = await planDeletion(thread, selection)
  if (plan.calls > 0) {
    while ((await thread.ask({ kind: 'prepare' })).hasMore === true) {}
    while (((await thread.ask({ kind: 'delete', calls: callsPerStep })).deleted ?? 0) > 0) {}
    while ((await thread.ask({ kind: 'shrink' })).hasMore === true) {}
  }
  let isScrubbed = false
  let unreadable: string[] = []
  for (let round = 0; round < scrubsAtMost && !isScrubbed; round++) {
    const step = await thread.ask({ kind: 'scrub', selection, keepIndexes })
    isScrubbed = step.isScrubbed === true
    unreadable = step.unreadable ?? []
  }
  return { ...plan, unreadable, isScrubbed }
}
