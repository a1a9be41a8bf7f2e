/** The report as Markdown, for a terminal, a pull request or a diff. */
import { answerSections } from './answers.ts'
import {
  contenderOrder,
  describeContender,
  describeTraining,
  formatDuration,
  formatFact,
  formatInterval,
  formatPoints,
  formatShare,
  formatTime,
  shorten,
  visible,
} from './format.ts'
import type { RunReport } from './report.ts'

/** Answers shown of each kind; the JSONL beside the report has them all. */
const limits = { failures: 20, others: 5 }

export function renderMarkdown(report: RunReport): string {
  const { evaluation } = report
  const { calls, sessions, confidence, difference } = evaluation
  const lines = [
    `# ${report.decision.promote ? 'Promoted' : 'Refused'}: ${inline(report.version ?? report.task)}`,
    '',
    inline(report.decision.sentence),
    '',
    `Task ${inline(report.task)}, ${formatTime(report.createdAt)}. Judge: ${inline(report.models.judge ?? 'none')}.`,
    '',
    '## Held-out scores',
    '',
    `${calls} calls in ${sessions} sessions that training never saw, scored by ${inline(evaluation.scorer)}; intervals at ${Number((100 * confidence).toFixed(2))} %, clustered by session.`,
    '',
    '| contender | what it is | score | interval |',
    '|---|---|--:|--:|',
    ...contenderOrder.map((name) => {
      const { title, about } = describeContender(name, report)
      const estimate = evaluation.scores[name]
      return `| ${title} | ${inline(about)} | ${formatShare(estimate.mean)} | ${formatInterval(estimate)} |`
    }),
    '',
    `Owned − frontier, call by call: ${formatPoints(difference.mean)} points (${formatPoints(difference.low)} to ${formatPoints(difference.high)}).`,
    '',
    ...(report.notes.length === 0
      ? []
      : ['## Read it with this', '', ...report.notes.map((note) => `- ${inline(note)}`), '']),
    '## Training',
    '',
    describeTraining(report) ?? 'Nothing was trained in this run.',
    '',
    '## Stages',
    '',
    '| stage | took | found |',
    '|---|--:|---|',
    ...report.stages.map(({ name, tookMs, reused, facts }) => {
      const found = Object.entries(facts).map(
        ([fact, value]) => `${inline(fact)} ${inline(formatFact(value))}`,
      )
      return `| ${inline(name)} | ${reused ? 'reused' : formatDuration(tookMs)} | ${found.join(', ')} |`
    }),
    '',
    '## Answers side by side',
    '',
    ...answerSections(report.rows, limits).flatMap(({ title, rows, total }) => [
      `### ${title} (${rows.length < total ? `${rows.length} of ${total}` : total})`,
      '',
      ...rows.flatMap((row) => [
        block('request', row.input),
        block('reference', row.reference),
        ...contenderOrder.map((name) =>
          block(`${name}, ${formatShare(row.scores[name])}`, row.answers[name]),
        ),
        '---',
        '',
      ]),
    ]),
  ]
  return `${lines.join('\n').trimEnd()}\n`
}

/** Text within a line or a cell: on one line, with nothing that Markdown or HTML would read. */
function inline(text: string): string {
  return visible(text)
    .replace(/\s+/g, ' ')
    .replace(/[\\`*_[\]<>|#&]/g, (char) => (char === '<' ? '&lt;' : char === '&' ? '&amp;' : `\\${char}`))
}

/** Text as it is, in a fence longer than any run of backticks within. */
function block(title: string, text: string): string {
  const shown = shorten(visible(text), 2_000)
  const longest = Math.max(2, ...(shown.match(/`+/g) ?? []).map((run) => run.length))
  const fence = '`'.repeat(longest + 1)
  return `${title}:\n\n${fence}text\n${shown}\n${fence}\n`
}
