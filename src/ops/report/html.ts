/**
 * The report as one HTML file that needs no network. Every text from outside goes through the escaping template;
 * a policy in the page's head allows the two scripts written here by their hashes and nothing else.
 */
import { createHash } from 'node:crypto'
import { html, raw } from 'hono/html'
import type { Contender, Estimate, EvaluatedRow } from '../../contract/index.ts'
import { type AnswerSection, answerSections } from './answers.ts'
import { chartData, chartParts } from './chart.ts'
import {
  contenderOrder,
  describeContender,
  describeTraining,
  formatDuration,
  formatFact,
  formatInterval,
  formatNumber,
  formatPoints,
  formatShare,
  formatTime,
  shorten,
  unbroken,
  visible,
} from './format.ts'
import type { ReportStage, RunReport } from './report.ts'
import { pageStyle } from './style.ts'

type Html = ReturnType<typeof html>

/** Answers shown of each kind; the JSONL beside the report has them all. */
const limits = { failures: 60, others: 20 }

export async function renderHtml(report: RunReport): Promise<string> {
  const { script, style } = await chartParts()
  const data = chartData(report.metrics)
  const drawn = report.metrics.length > 1
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src ${drawn ? hashOf(script) : "'none'"}; base-uri 'none'; form-action 'none'`
  const promoted = report.decision.promote
  const page = await html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${promoted ? 'Promoted' : 'Refused'} · ${visible(report.task)}</title>
<style>${raw(style)}${raw(pageStyle)}</style>
</head>
<body>
<header class="${promoted ? 'promoted' : 'refused'}">
  <p class="kicker"><strong>${visible(report.task)}</strong>${optional(report.version)}<span>${formatTime(report.createdAt)}</span></p>
  <h1>${promoted ? 'Promoted' : 'Refused'}</h1>
  <p class="sentence">${withoutVerdict(unbroken(visible(report.decision.sentence)))}</p>
</header>
<main>
${contendersSection(report)}
${notesSection(report.notes)}
${trainingSection(report, drawn)}
${stagesSection(report.stages)}
${answersSection(report.rows)}
</main>
<footer>Base ${visible(report.models.base)} · frontier ${visible(report.models.frontier)} · judge ${visible(report.models.judge ?? 'none')}. Intervals come from a bootstrap over sessions with one worst-case session added.</footer>
${drawn ? [html`<script type="application/json" id="loss-data">${raw(data)}</script>`, html`<script>${raw(script)}</script>`] : ''}
</body>
</html>
`
  return page.toString()
}

/** The heading says the verdict already. */
function withoutVerdict(sentence: string): string {
  const rest = sentence.replace(/^(Promoted|Refused): /, '')
  return `${rest.charAt(0).toUpperCase()}${rest.slice(1)}`
}

function optional(text: string | null): Html | string {
  return text === null ? '' : html`<span>${visible(text)}</span>`
}

function hashOf(script: string): string {
  return `'sha256-${createHash('sha256').update(script).digest('base64')}'`
}

function contendersSection(report: RunReport): Html {
  const { calls, sessions, confidence, difference, scorer, scores } = report.evaluation
  const level = unbroken(`${Number((100 * confidence).toFixed(2))} %`)
  return html`<section>
<h2>On sessions that training never saw</h2>
<p class="lede">${formatNumber(calls)} held-out calls in ${formatNumber(sessions)} sessions, compared with the reference by the ${visible(scorer)} scorer. Bars are ${level} intervals, clustered by session.</p>
<table class="contenders">
<thead><tr><th>Contender</th><th class="number">Score</th><th class="plot">0 to 100 %</th></tr></thead>
<tbody>
${contenderOrder.map((name) => contenderRow(name, scores[name], report))}
</tbody>
</table>
<p class="difference">Owned − frontier, call by call: <strong>${formatPoints(difference.mean)} points</strong> <span class="tally">(${formatPoints(difference.low)} to ${formatPoints(difference.high)} at ${level})</span></p>
</section>`
}

function contenderRow(name: Contender, estimate: Estimate, report: RunReport): Html {
  const { title, about } = describeContender(name, report)
  return html`<tr class="${name}"><td><span class="name">${title}</span><span class="about">${visible(about)}</span></td><td class="number score">${formatShare(estimate.mean)}</td><td class="plot">${intervalBar(estimate)}<span class="small">${formatInterval(estimate)}</span></td></tr>
`
}

function intervalBar({ mean, low, high }: Estimate): Html {
  const at = (share: number): string => `${(100 * share).toFixed(2)}%`
  return html`<svg class="interval" role="img" aria-label="${formatShare(mean)}, ${formatInterval({ mean, low, high })}"><line class="track" x1="0" x2="100%" y1="50%" y2="50%"/><line class="range" x1="${at(low)}" x2="${at(high)}" y1="50%" y2="50%"/><circle class="mean" cx="${at(mean)}" cy="50%" r="5"/></svg>`
}

function notesSection(notes: readonly string[]): Html | string {
  if (notes.length === 0) return ''
  return html`<section><h2>Read it with this</h2><ul class="notes">${notes.map((note) => html`<li>${visible(note)}</li>`)}</ul></section>`
}

function trainingSection(report: RunReport, drawn: boolean): Html {
  const text = describeTraining(report) ?? 'Nothing was trained in this run.'
  return html`<section><h2>Training</h2><figure>${drawn ? html`<div id="loss"></div>` : ''}<figcaption>${text}</figcaption></figure></section>`
}

function stagesSection(stages: readonly ReportStage[]): Html {
  const total = stages.reduce((sum, stage) => sum + (stage.reused ? 0 : stage.tookMs), 0)
  return html`<section><h2>What each stage found</h2>
<table class="stages">
<thead><tr><th>Stage</th><th class="number">Took</th><th>Found</th></tr></thead>
<tbody>
${stages.map(stageRow)}
</tbody>
<tfoot><tr><td>Together</td><td class="number">${formatDuration(total)}</td><td></td></tr></tfoot>
</table></section>`
}

function stageRow({ name, tookMs, reused, facts }: ReportStage): Html {
  const found = Object.entries(facts).map(
    ([fact, value]) => html`<div><dt>${visible(fact)}</dt><dd>${visible(formatFact(value))}</dd></div>`,
  )
  return html`<tr><td>${visible(name)}</td><td class="number">${reused ? 'reused' : formatDuration(tookMs)}</td><td><dl class="facts">${found}</dl></td></tr>
`
}

function answersSection(rows: readonly EvaluatedRow[]): Html {
  const sections = answerSections(rows, limits)
  return html`<section><h2>Answers side by side</h2>${
    sections.length === 0 ? html`<p class="lede">No call was held out.</p>` : sections.map(answerSection)
  }</section>`
}

function answerSection({ title, rows, total }: AnswerSection): Html {
  const tally = rows.length < total ? `${rows.length} of ${formatNumber(total)}` : formatNumber(total)
  return html`<h3>${title} <span class="tally">${tally}</span></h3>
${rows.map(answerRow)}`
}

function answerRow(row: EvaluatedRow): Html {
  const shown: readonly Contender[] = ['owned', 'frontier']
  return html`<details><summary><span class="request">${shorten(visible(row.input).trim(), 400) || '(no text)'}</span><span class="marks">${shown.map((name) => html`<span>${mark(row.scores[name])} ${name}</span>`)}</span></summary>
<dl class="answers"><dt>reference</dt><dd>${quoted(row.reference)}</dd>${contenderOrder.map(
    (name) => html`<dt>${mark(row.scores[name])} ${name}</dt><dd>${quoted(row.answers[name])}</dd>`,
  )}</dl></details>
`
}

/** A sign for a reader who tells no colours apart, and the score where it is neither right nor wrong. */
function mark(score: number): Html {
  if (score === 1) return html`<span class="yes" title="right">✓</span>`
  if (score === 0) return html`<span class="no" title="wrong">✗</span>`
  return html`<span class="no">${formatShare(score)}</span>`
}

function quoted(text: string): Html {
  return html`<pre>${shorten(visible(text), 4_000) || ' '}</pre>`
}
