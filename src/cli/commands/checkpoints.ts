import { Command } from 'commander'
import { inspectCheckpoints } from '../../ops/trainings.ts'
import { parseLimit } from '../parse-limit.ts'
import { renderCheckpoints } from '../render-checkpoints.ts'

export function checkpointsCommand(): Command {
  return new Command('checkpoints')
    .description('list the checkpoints in a folder, whoever wrote them, and what a training would go on from')
    .argument('<folder>', 'of a training by Shadow, transformers or mlx-lm')
    .option('--steps <n>', 'of the whole training', parseLimit)
    .action((folder: string, { steps }: { steps?: number }) => {
      process.stdout.write(renderCheckpoints(inspectCheckpoints(folder, steps ?? null)))
    })
}
