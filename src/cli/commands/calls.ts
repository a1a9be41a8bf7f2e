import { Command } from 'commander'
import { listCalls, requestBytes, showCall } from '../../ops/calls.ts'
import { openWorkspace } from '../../ops/workspace.ts'
import { deleteCallsCommand } from './delete-calls.ts'
import { exportCallsCommand, importCallsCommand } from './transfer-calls.ts'
import { parseLimit } from '../parse-limit.ts'
import { renderDuration, renderTable, renderTime } from '../table.ts'

interface Options {
  task?: string
  limit?: number
  json?: true
  raw?: true
}

export function callsCommand(): Command {
  return new Command('calls')
    .description('list captured calls, newest first, or show one')
    .argument('[id]', 'a call to show whole')
    .option('--task <name>', 'only of this task')
    .option('--limit <n>', 'how many (20 in the table, all with --json)', parseLimit)
    .option('--json', 'one JSON line a call, with its conversation')
    .option('--raw', 'with an id: the request body, byte for byte')
    .action(async (id: string | undefined, options: Options) => {
      await using workspace = await openWorkspace()
      if (id !== undefined) {
        if (options.raw === true) {
          const { redacted } = await showCall(workspace, id)
          if (redacted)
            process.stderr.write(`Not as it came: ${Object.keys(redacted).join(', ')} were taken out.\n`)
          process.stdout.write(await requestBytes(workspace, id))
        } else process.stdout.write(`${JSON.stringify(await showCall(workspace, id), null, 2)}\n`)
        return
      }
      const calls = await listCalls(workspace, {
        task: options.task ?? null,
        limit: options.limit ?? (options.json === true ? Number.POSITIVE_INFINITY : 20),
      })
      if (options.json === true) {
        for (const call of calls) {
          process.stdout.write(`${JSON.stringify(await showCall(workspace, call.id))}\n`)
        }
        return
      }
      const rows = calls.map((call) => [
        call.id,
        renderTime(call.startedAt),
        call.task,
        call.servedBy,
        call.modelAsked,
        call.status,
        renderDuration(call.timings.totalMs),
      ])
      process.stdout.write(
        renderTable(['call', 'time', 'task', 'served by', 'model asked', 'status', 'took'], rows),
      )
    })
    .addCommand(deleteCallsCommand())
    .addCommand(exportCallsCommand())
    .addCommand(importCallsCommand())
}
