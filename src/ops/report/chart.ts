/** The loss curve: uPlot and its data, made part of the page. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { TrainMetric } from '../../contract/index.ts'

/** More points than this are thinned: a screen shows no more, and the page stays light. */
const maxPoints = 2_000

export interface ChartParts {
  script: string
  style: string
}

/** uPlot's own files from the installed package, and the few lines that call it. */
export async function chartParts(): Promise<ChartParts> {
  const read = (path: string): Promise<string> => readFile(fileURLToPath(import.meta.resolve(path)), 'utf8')
  const [library, style] = await Promise.all([
    read('uplot/dist/uPlot.iife.min.js'),
    read('uplot/dist/uPlot.min.css'),
  ])
  return { script: `${knownLanguage}\n${library}\n${draw}`, style }
}

/**
 * `[steps, losses, smoothed losses]` as JSON that may stand inside a script element: `<` never appears in it.
 * Smoothing is an exponential mean over about a thirtieth of the run, corrected for its start as in Adam.
 */
export function chartData(metrics: readonly TrainMetric[]): string {
  const share = 1 / Math.max(1, metrics.length / 30)
  let mean = 0
  let weight = 0
  const points = metrics.map(({ step, loss }) => {
    mean += share * (loss - mean)
    weight += share * (1 - weight)
    return [step, loss, mean / weight] as const
  })
  const stride = Math.ceil(points.length / maxPoints)
  const kept = points.filter((_, index) => index % stride === 0 || index === points.length - 1)
  const round = (value: number): number => Number(value.toPrecision(6))
  const columns = [
    kept.map(([step]) => step),
    kept.map(([, loss]) => round(loss)),
    kept.map(([, , smooth]) => round(smooth)),
  ]
  return JSON.stringify(columns).replaceAll('<', '\\u003c')
}

/**
 * Chromium under the POSIX locale names a language that its own Intl refuses, and uPlot asks Intl for the reader's language
 * while it is loaded.
 */
const knownLanguage = String.raw`
try { new Intl.NumberFormat(navigator.language) }
catch { Object.defineProperty(navigator, 'language', { value: 'en-US' }) }
`

/** Runs in the reader's browser; colours come from the page's own style, so that they follow light and dark. */
const draw = String.raw`
(() => {
  const holder = document.getElementById('loss')
  const data = JSON.parse(document.getElementById('loss-data').textContent)
  let plot = null
  const shown = (u, loss) => loss == null ? '' : loss.toPrecision(4)
  const render = (print) => {
    const style = getComputedStyle(document.documentElement)
    const colour = (name) => print ? { ink: '#1c1b19', muted: '#77746c', rule: '#dddad2', accent: '#2c6e63' }[name] : style.getPropertyValue('--' + name).trim()
    const font = '12px ' + getComputedStyle(document.body).fontFamily
    const axis = { stroke: colour('muted'), font, ticks: { show: false }, grid: { stroke: colour('rule'), width: 1 } }
    if (plot) plot.destroy()
    plot = new uPlot({
      width: holder.clientWidth, height: Math.round(Math.min(300, Math.max(200, holder.clientWidth * 0.4))),
      legend: { markers: { fill: (u, index) => colour(index === 1 ? 'muted' : 'accent') } },
      cursor: { y: false, points: { size: 6 } },
      scales: { x: { time: false }, y: { range: (u, min, max) => [Math.min(0, min), max > 0 ? max * 1.05 : 1] } },
      axes: [{ ...axis, grid: { show: false }, label: 'step', labelFont: font, labelSize: 20, size: 34 }, { ...axis, size: 46 }],
      series: [
        { label: 'step', value: (u, step) => step == null ? '' : step },
        { label: 'loss', value: shown, stroke: colour('muted'), width: 1, alpha: 0.45, points: { show: false } },
        { label: 'smoothed', value: shown, stroke: colour('accent'), width: 2, points: { show: data[0].length < 3 } },
      ],
    }, data, holder)
  }
  render(false)
  let width = holder.clientWidth
  new ResizeObserver(() => { if (holder.clientWidth !== width) { width = holder.clientWidth; render(false) } }).observe(holder)
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => render(false))
  addEventListener('beforeprint', () => render(true))
  addEventListener('afterprint', () => render(false))
})()
`
