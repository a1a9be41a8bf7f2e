import { Command } from 'commander'
import { deleteRun } from '../../ops/delete-run.ts'
import { lossLine } from '../../ops/run-metrics.ts'
import { deleteTraining, listTrainings } from '../../ops/trainings.ts'
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
      const trainings = listTrainings(workspace)
      if (options.delete !== undefined) {
        const isTraining = trainings.some(({ id }) => id === options.delete)
        if (isTraining) deleteTraining(workspace, options.delete)
        else await deleteRun(workspace, options.delete)
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
      if (trainings.length > 0 && options.task === undefined)
        process.stdout.write(`\n${renderTrainings(trainings.slice(0, options.limit))}`)
    })
}

/** Trainings outside of a run. */
function renderTrainings(trainings: ReturnType<typeof listTrainings>): string {
  const rows = trainings.map((training) => {
    const { record, loss } = training
    const result = loss === null ? '-' : `${training.sparkline(12)} ${loss.toFixed(3)}`
    const steps = `${training.step} of ${record.totalSteps}`
    return [
      training.id,
      renderTime(record.startedAt),
      record.method,
      record.state,
      steps,
      result,
      record.error ?? '-',
    ]
  })
  return renderTable(['training', 'started', 'method', 'state', 'steps', 'loss', 'error'], rows)
}
