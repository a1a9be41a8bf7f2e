import { Command } from 'commander'
import { openWorkspace } from '../../ops/workspace.ts'
import { renderDuration, renderTable, renderTime } from '../table.ts'

export function runsCommand(): Command {
  return new Command('runs')
    .description('list runs, newest first')
    .option('--task <name>', 'only of this task')
    .action(async (options: { task?: string }) => {
      await using workspace = await openWorkspace()
      const runs = await workspace.pipeline.runs.list(options.task ?? null, 20)
      const rows = runs.map((run) => [
        run.id,
        renderTime(run.startedAt),
        run.task,
        run.state,
        run.finishedAt === null ? run.stage : renderDuration(run.finishedAt - run.startedAt),
        run.version ?? run.error ?? '-',
      ])
      process.stdout.write(
        renderTable(['run', 'started', 'task', 'state', 'took or stage', 'version or error'], rows),
      )
    })
}
