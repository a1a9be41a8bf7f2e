import { Command } from 'commander'
import { ShadowError } from '../../lib/error.ts'
import { plotRun } from '../../ops/run-metrics.ts'
import { openWorkspace } from '../../ops/workspace.ts'

interface Options {
  smooth: number
  window?: number
  log?: true
  clip?: number
}

export function plotCommand(): Command {
  return new Command('plot')
    .description('draw a metric of a training in the terminal')
    .argument('<run>', 'its id, "latest", or a folder that holds metrics.ndjson')
    .argument('[metric]', 'loss, eval_loss, lr, grad_norm, tokens_per_s, …', 'loss')
    .option('--smooth <weight>', 'of the mean drawn over the loss; 0 draws none', between(0, 1), 0.6)
    .option('--window <n>', 'only the last records', wholeNumber)
    .option('--log', 'logarithmic axis')
    .option('--clip <share>', 'cut what lies above this percentile, 0.95 for instance', between(0, 1))
    .action(async (run: string, metric: string, options: Options) => {
      await using workspace = await openWorkspace()
      process.stdout.write(await plotRun(workspace, run, metric, options))
    })
}

function between(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (text.trim() !== '' && value >= low && value < high) return value
    throw new ShadowError('invalid_config', `"${text}" is no number from ${low} to below ${high}.`)
  }
}

function wholeNumber(text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  throw new ShadowError('invalid_config', `"${text}" is no number of records.`, { hint: 'Use 1 or more.' })
}
