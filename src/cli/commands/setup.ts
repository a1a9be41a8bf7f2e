import { Command } from 'commander'
import { printedProgress } from '../../setup/progress.mjs'
import { ensureReady } from '../../setup/ready.mjs'

export function setupCommand(): Command {
  return new Command('setup')
    .description("fetch the engine's parts, compile the addon and fetch the default model")
    .action(async () => {
      await ensureReady({ progress: printedProgress() })
      process.stdout.write('The engine and the default model are ready.\n')
    })
}
