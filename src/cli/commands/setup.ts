import { Command } from 'commander'
import { ensureEngine } from '../../setup/engine.mjs'
import { ensureDefaultModel } from '../../setup/model.mjs'

export function setupCommand(): Command {
  return new Command('setup')
    .description("fetch the engine's parts, compile the addon and fetch the default model")
    .action(async () => {
      await ensureEngine()
      await ensureDefaultModel()
      process.stdout.write('The engine and the default model are ready.\n')
    })
}
