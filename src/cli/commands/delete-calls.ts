/** `shadow calls delete` and `shadow sessions delete`. */
import { Command } from 'commander'
import type { CallSelection } from '../../contract/deletion.ts'
import { ShadowError } from '../../lib/error.ts'
import { deleteCaptured, planDeletion } from '../../ops/deletion.ts'
import { credentialsOf } from '../../ops/keys.ts'
import { findSession } from '../../ops/sessions.ts'
import { openWorkspace, type Workspace } from '../../ops/workspace.ts'
import { parseTime } from '../parse-time.ts'
import { renderDeletion, renderPlan } from '../render-deletion.ts'

interface Options {
  cascade?: true
  dryRun?: true
  json?: true
  user?: string
  key?: string
  before?: number
  task?: string
}

const common = (command: Command): Command =>
  command
    .option('--cascade', 'also retire the model versions that were trained on them')
    .option('--dry-run', 'say what would go; change nothing')
    .option('--json', 'end with one line of JSON')

export function deleteSessionCommand(): Command {
  return common(
    new Command('delete')
      .description('delete a session from every file, with all that was made of it')
      .argument('<session>', 'its id, or what the agent called it'),
  ).action(async (session: string, _: Options, command: Command) => {
    await using workspace = await openWorkspace()
    const { id } = await findSession(workspace, session)
    await deleteSelected(workspace, { sessions: [id] }, command.optsWithGlobals<Options>())
  })
}

export function deleteCallsCommand(): Command {
  return common(
    new Command('delete')
      .description('delete calls from every file, with all that was made of them; every option narrows it')
      .option(
        '--user <name>',
        'of this user, as the requests name it (user, safety_identifier, metadata.user_id)',
      )
      .option(
        '--key <key>',
        'that came with this key: a name or id of `shadow keys`, or the agent’s own API key',
      )
      .option('--before <time>', 'older than a date (2026-11-01) or an age (30d)', parseTime)
      .option('--task <name>', 'of this task'),
  ).action(async (_: Options, command: Command) => {
    const options = command.optsWithGlobals<Options>()
    const { user, key, before, task } = options
    await using workspace = await openWorkspace()
    const selection: CallSelection = {
      ...(user === undefined ? {} : { user }),
      ...(key === undefined ? {} : { credentials: await credentialsOf(workspace, key) }),
      ...(before === undefined ? {} : { before }),
      ...(task === undefined ? {} : { task }),
    }
    if (Object.keys(selection).length === 0) {
      throw new ShadowError('invalid_config', 'Nothing says which calls to delete.', {
        hint: 'Give --user, --key, --before or --task; `shadow sessions delete ID` deletes one session.',
      })
    }
    await deleteSelected(workspace, selection, options)
  })
}

async function deleteSelected(
  workspace: Workspace,
  selection: CallSelection,
  { cascade, dryRun, json }: Options,
): Promise<void> {
  if (dryRun === true) {
    const plan = await planDeletion(workspace, selection)
    process.stdout.write(json === true ? `${JSON.stringify(plan)}\n` : renderPlan(plan))
    return
  }
  const report = await deleteCaptured(workspace, { selection, isCascading: cascade === true })
  process.stdout.write(json === true ? `${JSON.stringify(report)}\n` : renderDeletion(report))
  if (!report.isScrubbed || report.unreadable.length > 0 || report.derived.busy.length > 0)
    process.exitCode = 1
}
