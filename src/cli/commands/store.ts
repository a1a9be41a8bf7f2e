import { Command } from 'commander'
import { retainNow } from '../../ops/retention.ts'
import { setStore, showStore } from '../../ops/store.ts'
import { openWorkspace } from '../../ops/workspace.ts'
import { renderPlan } from '../render-deletion.ts'

export function storeCommand(): Command {
  return new Command('store')
    .description('show what is decided about the store, and how much it holds')
    .action(async () => {
      await using workspace = await openWorkspace()
      process.stdout.write(`${JSON.stringify(await showStore(workspace), null, 2)}\n`)
    })
    .addCommand(
      new Command('set')
        .description(
          'shadow store set retention.maxAgeDays=90 retention.maxBytes=20000000000 synchronous=full',
        )
        .argument('[settings...]', 'key=value; a value is read as JSON where it is JSON')
        .action(async (settings: string[]) => {
          await using workspace = await openWorkspace()
          await setStore(workspace, settings)
          process.stdout.write('The store is set.\n')
        }),
    )
    .addCommand(
      new Command('retain')
        .description('delete at once what retention keeps no longer, as the server does every minute')
        .option('--dry-run', 'say what would go; change nothing')
        .action(async (options: { dryRun?: true }) => {
          await using workspace = await openWorkspace()
          const plan = await retainNow(workspace, options.dryRun === true)
          process.stdout.write(
            options.dryRun === true
              ? renderPlan(plan)
              : `${plan.calls} calls that are kept no longer are deleted.\n`,
          )
        }),
    )
}
