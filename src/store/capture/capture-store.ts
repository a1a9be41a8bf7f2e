/**
 * The one writer of a home's captured traffic. A call is committed to the journal, at the price of one append,
 * before its reply ends; a thread finds its place and brings it into the tables, where everything is read.
 */
import type { CallSelection, DeletionPlan, DeletionResult, RetentionRules } from '../../contract/index.ts'
import { messageOf, ShadowError } from '../../lib/error.ts'
import type { KeyedHash } from '../../lib/hash.ts'
import { type OpenedDatabase, openDatabase } from '../database.ts'
import type { ProcessLock } from '../process-lock.ts'
import { openStoreSecret } from '../secret.ts'
import { Backlog } from './backlog.ts'
import { CallerNames } from './caller-names.ts'
import { CaptureReader } from './capture-reader.ts'
import { deleteCalls, planDeletion, planRetention, retainCalls, storedSelectionOf } from './delete-calls.ts'
import { capturePath, journalFolder, lockHome } from './home.ts'
import { IngestThread } from './ingest-thread.ts'
import { Journal } from './journal.ts'
import { encodeEntry } from './journal-entry.ts'
import type { MessageReader } from './message-tree.ts'
import { captureMigrations } from './migrations.ts'
import type { CallRecord } from './record.ts'
import type { CaptureSchema } from './schema.ts'
import { prepareStatements, type Statements } from './statements.ts'

/** Larger pages than SQLite's own, since rows hold whole messages. */
const pageSizeBytes = 8192

/** KiB of pages that look-ups keep. */
const cacheKib = 4096

/** Calls in the journal beyond which the next ones wait until the tables have taken some of them. */
const defaultMaxBacklogCalls = 20_000

/** Bytes that a call has to find room for beside its request: its reply and what is known of it. */
const roomForReplyBytes = 64 * 1024

export interface CaptureStoreOptions {
  /** Bounds what is remembered of calls that no table holds yet. Default 20,000. */
  maxBacklogCalls?: number
  /** `full` survives the loss of power at the price of an fsync a commit; `normal` the death of the process. */
  synchronous?: 'normal' | 'full'
  /** Told what went wrong behind the back of `record`; nothing is lost by it. */
  onTrouble?: (message: string) => void
}

/**
 * Opens a home for capturing, creates what is missing, and brings in what a process that died has left.
 * @param readers the dialects, which give stored bytes their meaning
 * @throws ShadowError busy when another process captures into this home; store_failed
 */
export async function openCaptureStore(
  home: string,
  readers: readonly MessageReader[],
  options: CaptureStoreOptions = {},
): Promise<CaptureStore> {
  const lock = lockHome(home)
  try {
    const hash = openStoreSecret(home)
    const opened = await openDatabase<CaptureSchema>(capturePath(home), captureMigrations, { pageSizeBytes })
    return new CaptureStore(home, opened, hash, readers, lock, options)
  } catch (cause) {
    lock.release()
    throw cause
  }
}

/** A reply as its upstream names it, and whose it is. */
export interface ReplyName {
  /** Where it may have been asked for, the likeliest first. */
  readonly tasks: Iterable<string>
  readonly credential: string | null
  readonly id: string
}

export class CaptureStore {
  /** Everything that is committed. */
  readonly reader: CaptureReader
  private readonly opened: OpenedDatabase<CaptureSchema>
  private readonly hash: KeyedHash
  private readonly lock: ProcessLock
  private readonly names: CallerNames
  private readonly statements: Statements
  private readonly backlogged: Backlog
  private readonly journal: Journal
  private readonly ingest: IngestThread
  private waits = 0
  private expired = 0
  private deleting: Promise<unknown> = Promise.resolve()
  private closing: Promise<void> | null = null

  constructor(
    home: string,
    opened: OpenedDatabase<CaptureSchema>,
    hash: KeyedHash,
    readers: readonly MessageReader[],
    lock: ProcessLock,
    {
      synchronous = 'normal',
      onTrouble = () => {},
      maxBacklogCalls = defaultMaxBacklogCalls,
    }: CaptureStoreOptions,
  ) {
    this.backlogged = new Backlog(maxBacklogCalls)
    this.opened = opened
    this.hash = hash
    this.lock = lock
    this.names = new CallerNames(hash)
    // Look-ups here are few, and every transaction of the ingesting thread makes the pages kept of the last ones stale.
    opened.sqlite.pragma(`cache_size = -${cacheKib}`)
    this.statements = prepareStatements(opened.sqlite)
    this.journal = new Journal(journalFolder(home), synchronous === 'full')
    this.ingest = new IngestThread(home, synchronous, {
      ingested: (lastId) => this.backlogged.takenUpTo(lastId),
      failed: onTrouble,
    })
    this.reader = new CaptureReader(opened, readers, () => this.caughtUp())
  }

  /**
   * The call whose reply goes by this id with its upstream, its task and its session; null where none of this caller's
   * does.
   * @throws ShadowError store_failed
   */
  async callNamed(reply: ReplyName): Promise<{ call: string; task: string; session: string } | null> {
    await this.caughtUp()
    const keyHash = this.names.keyHash(reply.credential)
    for (const task of reply.tasks) {
      const scope = this.statements.scope.get(task, keyHash)
      const named = scope === undefined ? undefined : this.statements.replyNamed.get(scope.id, reply.id)
      if (named !== undefined) return { call: named.call, task, session: named.session }
    }
    return null
  }

  /**
   * Whether a call with a request of this size could be recorded now. Writes that much to find out.
   * @throws ShadowError store_failed
   */
  async admit(requestBytes: number): Promise<void> {
    try {
      if (this.backlogged.isFull) throw new Error('the disk can’t keep up')
      await this.journal.probe(requestBytes + roomForReplyBytes)
    } catch (cause) {
      throw cannotRecord(cause)
    }
  }

  /**
   * Calls that are committed and in no table yet, how often a call had to wait for the tables, how many writes to the
   * journal were slow, and how many calls retention has let go of since the start.
   */
  backlog(): { calls: number; waits: number; slowWrites: number; expired: number } {
    const { waits, expired } = this
    return { calls: this.backlogged.size, waits, slowWrites: this.journal.slowWrites, expired }
  }

  /**
   * Resolves once the call is committed. Waits first where the tables are too far behind.
   * @throws ShadowError store_failed; other calls are not affected
   */
  async record(call: CallRecord): Promise<void> {
    try {
      if (this.backlogged.isFull) {
        this.waits++
        await Promise.race([this.backlogged.room(), this.ingest.catchUp()])
      }
      await this.journal.append(encodeEntry(this.names, call))
      this.backlogged.add(call.id)
    } catch (cause) {
      throw cannotRecord(cause)
    }
    this.ingest.wake()
  }

  /** What `delete` would take now. @throws ShadowError store_failed */
  async planDeletion(selection: CallSelection): Promise<DeletionPlan> {
    await this.caughtUp()
    return await planDeletion(this.ingest, storedSelectionOf(this.hash, selection))
  }

  /**
   * Deletes calls and what only they held from every file of the store, overwriting it.
   * @throws ShadowError store_failed; the same again goes on where this ended
   */
  delete(selection: CallSelection): Promise<DeletionResult> {
    const deletion = this.deleting.catch(() => {}).then(() => this.deleteNow(selection))
    this.deleting = deletion
    return deletion
  }

  private async deleteNow(selection: CallSelection): Promise<DeletionResult> {
    await this.dropSegments()
    const result = await deleteCalls(this.ingest, storedSelectionOf(this.hash, selection))
    // Calls that came while the others were taken in went too, and still stand in the segment that was begun.
    if (result.calls > 0) await this.dropSegments()
    return result
  }

  /** A segment goes once the tables hold it and another has begun. */
  private async dropSegments(): Promise<void> {
    await this.journal.beginSegment()
    do await this.caughtUp()
    while (this.journal.hasOlderSegments)
  }

  /** Resolves once the tables hold everything that is committed now; under load the journal is never empty. */
  private caughtUp(): Promise<void> {
    const all = this.ingest.catchUp()
    return this.backlogged.size === 0 ? all : Promise.race([this.backlogged.gone(), all])
  }

  /** What `retain` would let go of now. @throws ShadowError store_failed */
  async planRetention(rules: RetentionRules): Promise<DeletionPlan> {
    await this.caughtUp()
    return await planRetention(this.ingest, rules)
  }

  /** Lets go of calls that the rules keep no longer. @throws ShadowError store_failed; the next time goes on */
  retain(rules: RetentionRules): Promise<DeletionPlan> {
    const retention = this.deleting
      .catch(() => {})
      .then(async () => {
        const plan = await retainCalls(this.ingest, rules)
        this.expired += plan.calls
        if (plan.calls > 0) await this.dropSegments()
        return plan
      })
    this.deleting = retention
    return retention
  }

  /** Brings everything into the tables first. */
  close(): Promise<void> {
    this.closing ??= this.shutDown()
    return this.closing
  }

  private async shutDown(): Promise<void> {
    await this.journal.close()
    await this.ingest.stop()
    await this.opened.close()
    this.lock.release()
  }
}

function cannotRecord(cause: unknown): ShadowError {
  return new ShadowError('store_failed', `A call could not be recorded: ${messageOf(cause)}.`, {
    hint: 'Check the disk that holds the Shadow home.',
    cause,
  })
}
