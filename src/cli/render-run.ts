import type { RunPlan } from '../ops/run/plan.ts'
import type { RunResult } from '../ops/run/run.ts'
import { renderDuration } from './table.ts'

/** What `--dry-run` prints. */
export function renderPlan(plan: RunPlan): string {
  const lines = [
    `Task ${plan.task}: ${plan.calls} calls in ${plan.sessions} sessions; ${plan.tokens} tokens, ${plan.uniqueTokens} of them unique.`,
    `Split: ${plan.trainSessions} sessions train, ${plan.heldOutSessions} are held out (${plan.heldOutCalls} calls).`,
    `Judge: ${plan.groups} groups, ${plan.judgeCalls} judge calls of about ${plan.judgePromptTokens} prompt tokens in all${plan.judgeCached === 0 ? '' : `, ${plan.judgeCached} verdicts known already`}.`,
    `Train: at most ${plan.trainRows} rows, ${plan.trainSteps} steps, about ${plan.trainTokens} tokens.`,
    `Estimated time: ${renderDuration(plan.estimatedMs)} (training at ${plan.tokensPerSecond} tokens/s, ${plan.speedFrom}).`,
    ...plan.notes.map((note) => `Note: ${note}`),
  ]
  return lines.map((line) => `${line}\n`).join('')
}

/** What a run ends with. */
export function renderResult(result: RunResult): string {
  const lines: string[] = []
  if (result.decision !== null) lines.push(result.decision.sentence)
  if (result.version !== null) {
    lines.push(`Model   ${result.version}`)
    lines.push(`Report  ${result.reportHtml}`)
    lines.push(`        ${result.reportMarkdown}`)
    lines.push(`Answers ${result.heldOutPath}`)
  }
  return lines.length === 0 ? '' : `\n${lines.join('\n')}\n`
}
