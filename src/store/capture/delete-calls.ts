/** A deletion from the event loop's side: step after step in the ingesting thread, calls being brought in between. */
import type { CallSelection, DeletionPlan, DeletionResult, RetentionRules } from '../../contract/index.ts'
import type { KeyedHash } from '../../lib/hash.ts'
import type { StoredSelection } from './deletion.ts'
import type { IngestThread } from './ingest-thread.ts'

/** Calls of one transaction: few, so that calls that come meanwhile are in the tables soon. */
const callsPerStep = 50

/** Calls that retention looks for at once. */
const callsPerRound = 2000

const nothing: DeletionPlan = { calls: 0, sessions: 0, tasks: [] }

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
  return plan ?? nothing
}

/** What retention would let go of. */
export async function planRetention(thread: IngestThread, rules: RetentionRules): Promise<DeletionPlan> {
  const { plan } = await thread.ask({ kind: 'expire', rules, limit: Number.MAX_SAFE_INTEGER })
  return plan ?? nothing
}

/**
 * Deletes what is in the tables now.
 * @throws ShadowError store_failed; what was deleted until then is, and the same again goes on
 */
export async function deleteCalls(thread: IngestThread, selection: StoredSelection): Promise<DeletionResult> {
  const plan = await planDeletion(thread, selection)
  if (plan.calls > 0) await deleteChosen(thread)
  return { ...plan, ...(await scrub(thread, selection, false)) }
}

/**
 * Lets go of calls, round by round, until the rules are kept.
 * @throws ShadowError store_failed; the next time goes on
 */
export async function retainCalls(thread: IngestThread, rules: RetentionRules): Promise<DeletionPlan> {
  let calls = 0
  let sessions = 0
  const tasks = new Set<string>()
  for (;;) {
    const { plan = nothing } = await thread.ask({ kind: 'expire', rules, limit: callsPerRound })
    if (plan.calls === 0) break
    await deleteChosen(thread)
    calls += plan.calls
    sessions += plan.sessions
    for (const task of plan.tasks) tasks.add(task)
  }
  if (calls > 0) await scrub(thread, null, true)
  return { calls, sessions, tasks: [...tasks] }
}

async function deleteChosen(thread: IngestThread): Promise<void> {
  while ((await thread.ask({ kind: 'prepare' })).hasMore === true) {}
  while (((await thread.ask({ kind: 'delete', calls: callsPerStep })).deleted ?? 0) > 0) {}
  while ((await thread.ask({ kind: 'shrink' })).hasMore === true) {}
}

/** @param keepIndexes whether another deletion follows soon, which then needn't make ready again */
async function scrub(
  thread: IngestThread,
  selection: StoredSelection | null,
  keepIndexes: boolean,
): Promise<{ unreadable: string[]; isScrubbed: boolean }> {
  let isScrubbed = false
  let unreadable: string[] = []
  for (let round = 0; round < scrubsAtMost && !isScrubbed; round++) {
    const step = await thread.ask({ kind: 'scrub', selection, keepIndexes })
    isScrubbed = step.isScrubbed === true
    unreadable = step.unreadable ?? []
  }
  return { unreadable, isScrubbed }
}
