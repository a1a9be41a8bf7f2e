import type { inspectCheckpoints } from '../ops/trainings.ts'
import { renderTable, renderTime } from './table.ts'

const shown = 5
const cells = 10

/** The newest five as a table, and a sentence on what a training makes of them. */
export function renderCheckpoints({
  found,
  target,
  decision,
}: ReturnType<typeof inspectCheckpoints>): string {
  if (found.length === 0) return 'No checkpoint is here; a training starts anew.\n'
  const rows = found
    .slice(-shown)
    .map(({ name, step, kind, bytes, modifiedAt }) => [
      name,
      step === null ? 'final' : String(step),
      bar(step, target),
      kind,
      `${(bytes / 1e6).toFixed(1)} MB`,
      renderTime(modifiedAt),
    ])
  const table = renderTable(['checkpoint', 'step', 'progress', 'by', 'size', 'saved'], rows)
  const more = found.length > shown ? `${found.length - shown} older ones are not shown.\n` : ''
  if (decision === null) return `${table}${more}`
  switch (decision.state) {
    case 'none':
      return `${table}${more}None of them can be read; a training starts anew.\n`
    case 'completed':
      return `${table}${more}Already complete: ${decision.from.name}.\n`
    case 'resume':
      return `${table}${more}A training goes on from ${decision.from.name}: ${decision.step} of ${target} steps, ${decision.remaining} are left.\n`
  }
}

function bar(step: number | null, target: number | null): string {
  if (target === null && step !== null) return '-'
  const share = step === null || target === null ? 1 : Math.min(1, step / target)
  const full = Math.round(share * cells)
  return `${'█'.repeat(full)}${'░'.repeat(cells - full)} ${Math.round(100 * share)} %`
}
