/** `shadow calls export` and `shadow calls import`. */
import { Command, Option } from 'commander'
import { callStatus } from '../../contract/call.ts'
import { defaultTask, taskName } from '../../contract/task.ts'
import { ShadowError } from '../../lib/error.ts'
import { type CallFormat, callFormats, exportCalls } from '../../ops/transfer/export-calls.ts'
import { importCalls } from '../../ops/transfer/import-calls.ts'
import { openWorkspace } from '../../ops/workspace.ts'
import { parseTime } from '../parse-time.ts'

interface ExportOptions {
  format: CallFormat
  out?: string
  task?: string
  session?: string
  status?: string
  since?: number
}

export function exportCallsCommand(): Command {
  return new Command('export')
    .description('write captured calls for other tools, oldest first')
    .addOption(
      new Option(
        '--format <format>',
        'OpenAI messages, ShareGPT (a line a trajectory), Parquet, or OpenTelemetry spans',
      )
        .choices(callFormats)
        .default('jsonl'),
    )
    .option('-o, --out <file>', 'a file instead of the standard output')
    .option('--task <name>', 'only of this task')
    .option('--session <session>', 'only of this session, by its id or what the agent called it')
    .addOption(new Option('--status <status>', 'only with this status').choices(callStatus.options))
    .option('--since <time>', 'only since a date (2026-11-01) or an age (30d)', parseTime)
    .action(async (_: ExportOptions, command: Command) => {
      const { format, out, task, session, status, since } = command.optsWithGlobals<ExportOptions>()
      await using workspace = await openWorkspace()
      const count = await exportCalls(workspace, {
        format,
        path: out ?? null,
        out: process.stdout,
        filter: {
          ...(task === undefined ? {} : { task }),
          ...(session === undefined ? {} : { session }),
          ...(status === undefined ? {} : { status: callStatus.parse(status) }),
          ...(since === undefined ? {} : { since }),
        },
      })
      if (out !== undefined) {
        process.stdout.write(
          `${count} ${format === 'sharegpt' ? 'trajectories' : 'calls'} written to ${out}\n`,
        )
      }
    })
}

export function importCallsCommand(): Command {
  return new Command('import')
    .description(
      'import what `calls export` wrote, or fine-tuning lines of {"messages"}; again changes nothing',
    )
    .argument('<file>')
    .option('--task <name>', 'for lines that name no task')
    .action(async (file: string, _: object, command: Command) => {
      const task = taskName.safeParse(command.optsWithGlobals<{ task?: string }>().task ?? defaultTask)
      if (!task.success)
        throw new ShadowError('invalid_config', 'That can be no task.', {
          hint: task.error.issues[0]?.message ?? '',
        })
      await using workspace = await openWorkspace()
      const { added, known } = await importCalls(workspace, file, task.data)
      process.stdout.write(`${added} calls imported; ${known} were there already.\n`)
    })
}
