/**
 * What the proxy counts, in Prometheus' text format (exposition format 0.0.4). Nothing in it comes from a request,
 * so that neither names nor contents can show, and no label has more values than are written here.
 */
import type { ProxyContext } from './context.ts'

/** Upper bounds in seconds. */
const bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]

/** How long requests took, from their head to the end of their handling. */
export class Durations {
  private readonly buckets = new Uint32Array(bounds.length + 1)
  private sum = 0

  add(seconds: number): void {
    const at = bounds.findIndex((bound) => seconds <= bound)
    const bucket = at === -1 ? bounds.length : at
    this.buckets[bucket] = (this.buckets[bucket] ?? 0) + 1
    this.sum += seconds
  }

  render(name: string): string[] {
    let count = 0
    const lines = [...this.buckets].map((inBucket, at) => {
      count += inBucket
      return `${name}_bucket{le="${bounds[at] ?? '+Inf'}"} ${count}`
    })
    return [...lines, `${name}_sum ${this.sum}`, `${name}_count ${count}`]
  }
}

export function renderMetrics({ counts, store, durations }: ProxyContext): string {
  const backlog = store.backlog()
  const simple: [name: string, type: 'counter' | 'gauge', help: string, value: number][] = [
    ['shadow_calls_captured_total', 'counter', 'Calls on record.', counts.captured],
    ['shadow_calls_not_captured_total', 'counter', 'Calls that could not be recorded.', counts.notCaptured],
    ['shadow_calls_refused_total', 'counter', 'Calls that strict mode refused.', counts.refused],
    [
      'shadow_requests_passed_through_total',
      'counter',
      'Requests that are not captured.',
      counts.passedThrough,
    ],
    ['shadow_requests_in_flight', 'gauge', 'Requests being handled.', counts.inFlight],
    ['shadow_journal_backlog_calls', 'gauge', 'Calls that are committed and in no table yet.', backlog.calls],
    ['shadow_journal_waits_total', 'counter', 'Calls that waited for the tables.', backlog.waits],
    [
      'shadow_journal_slow_writes_total',
      'counter',
      'Writes to the journal that held the event loop for more than 5 ms.',
      backlog.slowWrites,
    ],
    ['shadow_calls_expired_total', 'counter', 'Calls that retention has deleted.', backlog.expired],
    ['process_resident_memory_bytes', 'gauge', 'Resident memory.', process.memoryUsage.rss()],
    [
      'process_cpu_seconds_total',
      'counter',
      'Processor time.',
      process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6,
    ],
  ]
  const lines = simple.flatMap(([name, type, help, value]) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    `${name} ${value}`,
  ])
  const name = 'shadow_request_duration_seconds'
  lines.push(`# HELP ${name} From a request's head to the end of its handling.`, `# TYPE ${name} histogram`)
  return `${[...lines, ...durations.render(name)].join('\n')}\n`
}
