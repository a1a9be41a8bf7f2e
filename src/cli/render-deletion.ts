import type { DeletionPlan } from '../contract/deletion.ts'
import type { DeletionReport } from '../ops/deletion.ts'

export function renderPlan({ calls, sessions, tasks }: DeletionPlan): string {
  if (calls === 0) return 'Nothing that is stored matches.\n'
  const ofTasks = tasks.length === 0 ? '' : ` of ${tasks.join(', ')}`
  return `${calls} calls in ${sessions} sessions${ofTasks} would go. Nothing was changed.\n`
}

export function renderDeletion({ calls, sessions, derived, unreadable, isScrubbed }: DeletionReport): string {
  const lines = [`${calls} calls in ${sessions} sessions are deleted.`]
  if (derived.verdicts > 0) lines.push(`${derived.verdicts} verdicts about them are deleted.`)
  if (derived.folders > 0) lines.push(`${derived.folders} folders with what was made of them are deleted.`)
  for (const { name, isRetired } of derived.versions) {
    lines.push(
      isRetired
        ? `${name} was trained on them; it is retired, and its adapter is removed.`
        : `${name} was trained on them and still answers; give --cascade to retire it.`,
    )
  }
  for (const task of derived.busy) {
    lines.push(
      `Task ${task} has a run under way, so what was made of them there is still kept: repeat this after it.`,
    )
  }
  for (const path of unreadable)
    lines.push(`${path} can't be searched and may hold some of it: remove it by hand.`)
  if (!isScrubbed) {
    lines.push(
      'Another process is reading the store; old pages stay in capture.db-wal until it ends: repeat this then.',
    )
  }
  return `${lines.join('\n')}\n`
}
