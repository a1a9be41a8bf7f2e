/** The event loop's side of the ingesting thread. */
import { Worker } from 'node:worker_threads'
import { messageOf, ShadowError } from '../../lib/error.ts'
import { siblingModule } from '../../lib/sibling-module.ts'
import {
  type DeletionOrder,
  type DeletionStep,
  type IngestOrder,
  type IngestReport,
  ingestReport,
  nothingIngested,
} from './ingest-order.ts'

/**
 * Milliseconds that a committed call waits for others to share its transaction, and that a reader in another
 * process may lag behind. Pages are what a transaction costs, and calls of the same moment share most of them.
 */
const gatherMs = 50

/**
 * Where so many calls come in that time, larger transactions are worth more than a reader elsewhere that is up to date:
 * calls are gathered on for as long as they come like that, up to these milliseconds or that many calls.
 */
const rushCalls = 20
const rushMs = 1000
const rushCallsAtMost = 5000

/** Of the thread's heap: what it makes of a call is garbage with the call, and V8 would let that grow for as long as it runs. */
const youngGenerationMb = 24

/** Milliseconds until a thread or a database that failed is tried again. */
const retryMs = 1000

/** Calls, or bytes of the journal, after which the WAL is brought back into the database file. */
const checkpointCalls = 4000
const checkpointBytes = 32 * 1024 * 1024

export interface IngestEvents {
  /** The tables have changed, and hold everything up to this call, if any is new to them. */
  ingested(lastId: string | null): void
  /** Something went wrong that loses nothing: the journal keeps what the tables don't have. */
  failed(message: string): void
}

interface Asked {
  readonly order: DeletionOrder
  resolve(step: DeletionStep): void
  reject(reason: ShadowError): void
}

export class IngestThread {
  private readonly home: string
  private readonly synchronous: 'normal' | 'full'
  private readonly events: IngestEvents
  private worker: Worker
  private timer: NodeJS.Timeout | null = null
  /** Calls that were appended since the last run began, and since the timer was set for the last time. */
  private gathered = 0
  private justGathered = 0
  private waiting: { resolve(): void; reject(reason: ShadowError): void }[] = []
  /** Those whose run is under way. */
  private served: typeof this.waiting = []
  /** Orders of a deletion that wait for their turn, and the one under way. */
  private readonly asked: Asked[] = []
  private answering: Asked | null = null
  private isRunning = false
  private isCheckpointing = false
  private callsInWal = 0
  private bytesInWal = 0
  /** Whether something was appended since the run under way began. */
  private hasMore = false
  private isStopping = false

  constructor(home: string, synchronous: 'normal' | 'full', events: IngestEvents) {
    this.home = home
    this.synchronous = synchronous
    this.events = events
    this.worker = this.start()
    // What a process that died has left behind.
    this.wake(0)
  }

  /** Something was appended to the journal. */
  wake(afterMs: number = gatherMs): void {
    this.hasMore = true
    this.gathered++
    this.justGathered++
    if (!this.isRunning && this.timer === null) this.runAfter(afterMs, performance.now() + rushMs)
  }

  private runAfter(afterMs: number, until: number): void {
    this.justGathered = 0
    this.timer = setTimeout(() => {
      const isRush = this.justGathered >= rushCalls && this.gathered < rushCallsAtMost
      if (isRush && performance.now() < until) this.runAfter(afterMs, until)
      else {
        this.timer = null
        this.run()
      }
    }, afterMs).unref()
  }

  /**
   * Resolves once the tables hold everything that the journal holds now.
   * @throws ShadowError store_failed
   */
  catchUp(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject })
      this.worker.ref()
      this.run()
    })
  }

  /** Follows an order of a deletion when its turn has come. @throws ShadowError store_failed */
  ask(order: DeletionOrder): Promise<DeletionStep> {
    return new Promise((resolve, reject) => {
      this.asked.push({ order, resolve, reject })
      this.worker.ref()
      if (!this.isRunning) this.next()
    })
  }

  async stop(): Promise<void> {
    if (this.timer !== null) clearTimeout(this.timer)
    while (this.isRunning) await new Promise((resolve) => setTimeout(resolve, 1))
    this.isStopping = true
    for (const { reject } of this.asked.splice(0)) reject(cannotDelete('the store is being closed'))
    const ended = new Promise((resolve) => this.worker.once('exit', resolve))
    this.worker.ref()
    this.send({ kind: 'stop' })
    await ended
  }

  private start(): Worker {
    const worker = new Worker(siblingModule(import.meta.url, './ingest-worker'), {
      workerData: { home: this.home, synchronous: this.synchronous },
      resourceLimits: { maxYoungGenerationSizeMb: youngGenerationMb },
    })
    worker.unref()
    worker.on('message', (message) => this.done(ingestReport.parse(message)))
    worker.on('error', (error) => {
      this.done({ ...nothingIngested, error: `the thread ended: ${messageOf(error)}` })
      if (!this.isStopping) this.worker = this.start()
    })
    return worker
  }

  private run(): void {
    // Whoever came meanwhile is looked after when the run under way is done.
    if (this.isRunning) return
    this.hasMore = false
    this.gathered = 0
    this.served.push(...this.waiting)
    this.waiting = []
    this.send({ kind: 'ingest' })
  }

  private send(order: IngestOrder): void {
    this.isRunning = true
    this.isCheckpointing = order.kind === 'checkpoint' || order.kind === 'scrub'
    this.worker.postMessage(order)
  }

  private done({ calls, bytes, lastId, hasMore, rejected, step, error }: IngestReport): void {
    const wasCheckpoint = this.isCheckpointing
    this.isRunning = false
    this.isCheckpointing = false
    const { answering } = this
    this.answering = null
    const written = calls + (step?.deleted ?? 0)
    this.callsInWal = wasCheckpoint ? 0 : this.callsInWal + written
    this.bytesInWal = wasCheckpoint ? 0 : this.bytesInWal + bytes
    if (lastId !== null || step !== null) this.events.ingested(lastId)
    for (const { id, reason } of rejected) {
      this.events.failed(
        `Call ${id ?? '(unreadable)'} can't be brought into capture.db: ${reason}. Its record is kept.`,
      )
    }
    if (answering !== null) {
      if (error === null) answering.resolve(step ?? {})
      else answering.reject(cannotDelete(error))
    } else if (hasMore) {
      if (!this.isStopping) this.goOn()
      return
    } else this.runEnded(error)
    if (!this.isStopping) this.next(error !== null, answering !== null)
  }

  /** Under load a run may never end: a deletion goes on beside it. */
  private goOn(): void {
    if (this.asked.length === 0 || this.isLogFull) {
      this.send({ kind: this.isLogFull ? 'checkpoint' : 'ingest' })
      return
    }
    this.hasMore = true
    this.answer()
  }

  private runEnded(error: string | null): void {
    const { served } = this
    this.served = []
    if (error === null) for (const { resolve } of served) resolve()
    else {
      this.events.failed(`capture.db can't be written: ${error}. Calls wait in the journal.`)
      for (const { reject } of served) reject(cannotCatchUp(error))
    }
  }

  private get isLogFull(): boolean {
    return this.callsInWal >= checkpointCalls || this.bytesInWal >= checkpointBytes
  }

  /** What comes next: readers first, then, by turns, calls that have come and the steps of a deletion. */
  private next(hasFailed = false, wasAsked = false): void {
    if (this.waiting.length > 0 || (wasAsked && this.hasMore)) this.run()
    else if (this.asked.length > 0) this.answer()
    else if (this.isLogFull) this.send({ kind: 'checkpoint' })
    else {
      this.worker.unref()
      if (hasFailed) this.wake(retryMs)
      else if (this.hasMore) this.wake()
    }
  }

  private answer(): void {
    const asked = this.asked.shift()
    if (asked === undefined) return
    this.answering = asked
    this.worker.ref()
    this.send(asked.order)
  }
}

function cannotDelete(reason: string): ShadowError {
  return new ShadowError('store_failed', `Captured calls can't be deleted: ${reason}.`, {
    hint: 'Give the same command again; it goes on where this one ended.',
  })
}

function cannotCatchUp(reason: string): ShadowError {
  return new ShadowError('store_failed', `Captured calls can't be read yet: ${reason}.`, {
    hint: 'Check the disk that holds the Shadow home; the calls themselves are safe in its journal.',
  })
}
