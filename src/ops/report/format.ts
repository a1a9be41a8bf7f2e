/** Numbers and texts as the report shows them; the same on every machine, whatever its locale. */
import type { Contender, Estimate } from '../../contract/index.ts'
import type { RunReport } from './report.ts'

const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 2 })

export function formatNumber(value: number): string {
  return grouped.format(value)
}

export function formatFact(value: string | number): string {
  return typeof value === 'number' ? formatNumber(value) : value
}

/** Keeps a percent sign on the line of its number. */
export function unbroken(text: string): string {
  return text.replace(/(?<=\d) %/g, '\u00a0%')
}

/** `97.3 %`, with a space that doesn't break. */
export function formatShare(share: number): string {
  return unbroken(`${(100 * share).toFixed(1)} %`)
}

export function formatInterval({ low, high }: Estimate): string {
  return `${(100 * low).toFixed(1)} – ${formatShare(high)}`
}

/** `+3.1` or `−0.4`, in points of a hundred. */
export function formatPoints(difference: number): string {
  const rounded = (100 * Math.abs(difference)).toFixed(1)
  const sign = rounded === '0.0' ? '±' : difference < 0 ? '−' : '+'
  return `${sign}${rounded}`
}

export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  const seconds = ms / 1000
  if (seconds < 60) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`
}

function formatBytes(bytes: number): string {
  return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(2)} GiB` : `${Math.round(bytes / 2 ** 20)} MiB`
}

/** `2026-11-23 14:05 UTC` */
export function formatTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

/**
 * Text from outside, made visible and harmless to layout: control characters become their pictures (a null byte
 * is `␀`); lone surrogates and marks that reverse the direction of writing become the replacement character. Line
 * breaks and tabs stay.
 */
export function visible(text: string): string {
  return text
    .toWellFormed()
    .replace(/\r\n?/g, '\n')
    .replace(/[^\P{Cc}\n\t]/gu, (char) =>
      char < ' ' ? String.fromCharCode(0x2400 + char.charCodeAt(0)) : '\ufffd',
    )
    .replace(/\p{Bidi_Control}/gu, '\ufffd')
}

export function shorten(text: string, chars: number): string {
  return text.length <= chars ? text : `${text.slice(0, chars).toWellFormed()}…`
}

/** The order in which contenders are shown: the one in question, what it would replace, and the baselines. */
export const contenderOrder: readonly Contender[] = ['owned', 'frontier', 'nearest', 'base']

export function describeContender(
  name: Contender,
  { models, version }: RunReport,
): { title: string; about: string } {
  switch (name) {
    case 'owned':
      return { title: 'Owned', about: version ?? `${models.base} with its adapter` }
    case 'frontier':
      return { title: 'Frontier', about: `${models.frontier}, first captured answers` }
    case 'nearest':
      return { title: 'Nearest neighbour', about: 'the answer to the most similar training request' }
    case 'base':
      return { title: 'Base', about: `${models.base}, the same instruction, untrained` }
  }
}

/** One sentence on the training, or null where none ran. */
export function describeTraining({ metrics }: RunReport): string | null {
  const first = metrics[0]
  const last = metrics.at(-1)
  if (first === undefined || last === undefined) return null
  const targets = metrics.reduce((sum, metric) => sum + metric.target_tokens, 0)
  const peak = 1e9 * Math.max(0, ...metrics.slice(-1000).map((metric) => metric.peak_mem_gb))
  return (
    `Loss from ${first.loss.toFixed(3)} to ${last.loss.toFixed(3)} nats per target token over ` +
    `${formatNumber(last.step)} steps (${last.epoch.toFixed(2)} epochs): ${formatNumber(targets)} target tokens ` +
    `of ${formatNumber(last.tokens)} computed, ${formatDuration(1000 * last.elapsed_s)}, ${formatBytes(peak)} at the peak.`
  )
}
