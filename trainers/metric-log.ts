/** metrics.ndjson: one record a line, written while the training runs, cut back when it resumes. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { type MetricRecord, metricRecord, type TrainMetric } from '../src/contract/run.ts'
import { messageOf, ShadowError } from '../src/lib/error.ts'
import { toJsonLines } from '../src/lib/files.ts'

/** The records of a metrics.ndjson. A line that was cut by a kill is left out. */
export function readMetricRecords(path: string): MetricRecord[] {
  if (!existsSync(path)) return []
  return readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line) => {
      try {
        return [metricRecord.parse(JSON.parse(line))]
      } catch {
        return []
      }
    })
}

export function isTrainMetric(record: MetricRecord): record is TrainMetric {
  return 'loss' in record
}

export class MetricLog implements Disposable {
  readonly #path: string
  #records: MetricRecord[] = []
  #file: number

  /** Starts with what the file holds. */
  constructor(path: string) {
    this.#path = path
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    this.#records = readMetricRecords(path)
    this.#file = openSync(path, 'a', 0o600)
  }

  get records(): readonly MetricRecord[] {
    return this.#records
  }

  append(record: MetricRecord): void {
    this.#records.push(record)
    this.#store(() => writeFileSync(this.#file, toJsonLines([record])))
  }

  /** Forgets what came after the first `count` records: the steps behind a checkpoint are done again. */
  keep(count: number): void {
    this.replace(this.#records.slice(0, count))
  }

  replace(records: readonly MetricRecord[]): void {
    this.#records = [...records]
    // Whole or not at all: a kill in between must not cost the records that a checkpoint counts on.
    const fresh = `${this.#path}.new`
    this.#store(() => {
      writeFileSync(fresh, toJsonLines(this.#records), { mode: 0o600, flush: true })
      renameSync(fresh, this.#path)
      closeSync(this.#file)
      this.#file = openSync(this.#path, 'a', 0o600)
    })
  }

  flush(): void {
    this.#store(() => fsyncSync(this.#file))
  }

  #store(write: () => void): void {
    try {
      write()
    } catch (thrown) {
      throw new ShadowError('store_failed', `${this.#path} cannot be written: ${messageOf(thrown)}.`, {
        hint: 'Make room on its disk; the same command goes on from the last checkpoint.',
        cause: thrown,
      })
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#file)
  }
}
