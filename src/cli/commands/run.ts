import { Command, Option } from 'commander'
import { stageName } from '../../contract/run.ts'
import { planRun } from '../../ops/run/plan.ts'
import { run } from '../../ops/run/run.ts'
import { openWorkspace } from '../../ops/workspace.ts'
import { renderPlan, renderResult } from '../render-run.ts'
import { stopSignal } from '../stop-signal.ts'
import { addThreadsOption } from '../threads-option.ts'
import { createTerminalProgress } from '../terminal-progress.ts'

interface Options {
  task: string
  until: string
  dryRun?: true
  json?: true
}

export function runCommand(): Command {
  return addThreadsOption(new Command('run'))
    .description('collect, split, group, judge, dataset, train, evaluate, gate, promote')
    .requiredOption('--task <name>', 'the task to make a model for')
    .addOption(
      new Option('--until <stage>', 'stop after this stage').choices(stageName.options).default('promote'),
    )
    .option('--dry-run', 'print the plan and what it would take; change nothing')
    .option('--json', 'end with one line of JSON')
    .action(async (options: Options) => {
      await using workspace = await openWorkspace()
      const signal = stopSignal()
      if (options.dryRun === true) {
        const plan = await planRun(workspace, options.task, signal)
        process.stdout.write(options.json === true ? `${JSON.stringify(plan)}\n` : renderPlan(plan))
        return
      }
      const progress = createTerminalProgress(process.stdout)
      const result = await run(workspace, {
        task: options.task,
        until: stageName.parse(options.until),
        progress,
        signal,
      })
      process.stdout.write(renderResult(result))
      if (options.json === true) process.stdout.write(`${JSON.stringify(result)}\n`)
    })
}
