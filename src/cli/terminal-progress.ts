/** Stages as lines; the one under way as a bar where a terminal can redraw. */
import { Presets, SingleBar } from 'cli-progress'
import type { ProgressSink } from '../ops/progress.ts'
import { renderDuration } from './table.ts'

/** Where nothing can be redrawn, a long stage says where it is this often. */
const plainIntervalMs = 15_000

/** What a bar has at most, and on a narrow terminal: what it tells is worth more. */
const [longestBar, shortestBar] = [24, 6]
/** Columns of a training's line beside its bar, up to the memory. */
const lineColumns = 74

type Terminal = NodeJS.WritableStream & { isTTY?: boolean; columns?: number }

export function createTerminalProgress(out: Terminal): ProgressSink {
  let bar: SingleBar | null = null
  return {
    begin(stage) {
      const started = performance.now()
      let said = started
      if (out.isTTY === true) {
        bar = new SingleBar(
          {
            format: `${stage.padEnd(9)} {bar} {value}/{total}  {eta_formatted} left  {text}`,
            barsize: Math.max(shortestBar, Math.min(longestBar, (out.columns ?? Infinity) - lineColumns)),
            stream: out,
            hideCursor: true,
            clearOnComplete: true,
            etaBuffer: 50,
          },
          Presets.shades_classic,
        )
      }
      let drawn = false
      return {
        update(done, total, text = '') {
          if (bar !== null) {
            if (total === 0) return
            if (!drawn) bar.start(total, done, { text })
            else bar.update(done, { text })
            drawn = true
            return
          }
          const now = performance.now()
          if (now - said < plainIntervalMs) return
          said = now
          const left = done > 0 ? `, ${renderDuration(((now - started) / done) * (total - done))} left` : ''
          out.write(`${stage.padEnd(9)} ${done}/${total}${left}${text === '' ? '' : `  ${text}`}\n`)
        },
      }
    },
    end(stage, { tookMs, reused, facts }) {
      bar?.stop()
      bar = null
      const told = Object.entries(facts)
        .map(([name, value]) => `${name} ${value}`)
        .join(', ')
      const time = reused ? 'done before' : renderDuration(tookMs)
      out.write(`${stage.padEnd(9)} ${time.padStart(12)}  ${told}\n`)
    },
    note(text) {
      out.write(`${text}\n`)
    },
  }
}
