import { Command } from 'commander'
import { deleteRun } from '../../ops/delete-run.ts'
import { lossLine } from '../../ops/run-metrics.ts'
import { openWorkspace } from '../../ops/workspace.ts'
import { parseLimit } from '../parse-limit.ts'
import { renderDuration, renderTable, renderTime } from '../table.ts'

interface Options {
  task?: string
  limit: number
  delete?: string
}

export function runsCommand(): Command {
  return new Command('runs')
    .description('list runs, newest first, each with the loss of its training')
    .option('--task <name>', 'only of this task')
    .option('--limit <n>', 'how many', parseLimit, 20)
    .option('--delete <run>', 'forget a run; models and data that came of it stay')
    .action(async (options: Options) => {
      await using workspace = await openWorkspace()
      if (options.delete !== undefined) {
        await deleteRun(workspace, options.delete)
        process.stdout.write(`Run ${options.delete} is forgotten.\n`)
        return
      }
      const runs = await workspace.pipeline.runs.list(options.task ?? null, options.limit)
      const rows = await Promise.all(
        runs.map(async (run) => [
          run.id,
          renderTime(run.startedAt),
          run.task,
          run.state,
          run.finishedAt === null ? run.stage : renderDuration(run.finishedAt - run.startedAt),
          (await lossLine(workspace, run.id)) ?? '-',
          run.version ?? run.error ?? '-',
        ]),
      )
      process.stdout.write(
        renderTable(['run', 'started', 'task', 'state', 'took or stage', 'loss', 'version or error'], rows),
      )
    })
}
