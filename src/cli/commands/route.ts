import { Command } from 'commander'
import { routeState } from '../../contract/route.ts'
import { ShadowError } from '../../lib/error.ts'
import { changeRoute, newestVersion, requireVersion, routeHistory } from '../../ops/route.ts'
import { openWorkspace } from '../../ops/workspace.ts'
import { renderTime } from '../table.ts'

export function routeCommand(): Command {
  return new Command('route')
    .description('show how a task is answered, or change it: frontier (at once) or owned')
    .argument('<task>')
    .argument('[state]', 'frontier or owned')
    .option('--version <name>', 'the version to route to, owned/X@n (default: the newest)')
    .action(async (task: string, wanted: string | undefined, options: { version?: string }) => {
      await using workspace = await openWorkspace()
      await routeHistory(workspace, task)
      if (wanted !== undefined) {
        const state = routeState.safeParse(wanted)
        if (!state.success) {
          throw new ShadowError('invalid_config', `"${wanted}" is no state of a route.`, {
            hint: 'Use frontier or owned.',
          })
        }
        const version =
          state.data === 'frontier'
            ? null
            : options.version === undefined
              ? await newestVersion(workspace, task)
              : await requireVersion(workspace, task, options.version)
        await changeRoute(workspace, task, { state: state.data, version, reason: 'asked for by hand' })
      }
      const history = await routeHistory(workspace, task)
      const [current] = history
      process.stdout.write(`${task} is answered by ${current?.version ?? 'the frontier'}.\n`)
      for (const change of history) {
        const target = change.version ?? 'frontier'
        process.stdout.write(`  ${renderTime(change.changedAt)}  ${target}: ${change.reason}\n`)
      }
    })
}
