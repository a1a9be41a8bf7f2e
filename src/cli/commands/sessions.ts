import { Command } from 'commander'
import { listSessions, showSession } from '../../ops/sessions.ts'
import { openWorkspace } from '../../ops/workspace.ts'
import { deleteSessionCommand } from './delete-calls.ts'
import { parseLimit } from '../parse-limit.ts'
import { renderSession } from '../render-session.ts'
import { renderTable, renderTime } from '../table.ts'

interface ListOptions {
  task?: string
  limit?: number
  json?: true
}

export function sessionsCommand(): Command {
  return new Command('sessions')
    .description('list sessions, newest first, or draw one as the tree it is')
    .option('--task <name>', 'only of this task')
    .option('--limit <n>', 'how many (20 in the table, all with --json)', parseLimit)
    .option('--json', 'one JSON line a session')
    .action(async (options: ListOptions) => {
      await using workspace = await openWorkspace()
      const sessions = await listSessions(workspace, {
        task: options.task ?? null,
        limit: options.limit ?? (options.json === true ? Number.POSITIVE_INFINITY : 20),
      })
      if (options.json === true) {
        for (const session of sessions) process.stdout.write(`${JSON.stringify(session)}\n`)
        return
      }
      const rows = sessions.map(({ id, label, task, firstCallAt, lastCallAt, calls }) => [
        id,
        label ?? '-',
        task,
        renderTime(firstCallAt),
        renderTime(lastCallAt),
        String(calls),
      ])
      process.stdout.write(
        renderTable(['session', 'called', 'task', 'first call', 'last call', 'calls'], rows),
      )
    })
    .addCommand(
      new Command('show')
        .description('draw a session: messages, calls, branches, rewritten histories, sub-agents')
        .argument('<session>', 'its id, or what the agent called it')
        .option('--json', 'the tree as JSON')
        .action(async (id: string, options: { json?: true }, command: Command) => {
          await using workspace = await openWorkspace()
          const tree = await showSession(workspace, id)
          const isJson = options.json === true || command.parent?.opts<ListOptions>().json === true
          process.stdout.write(isJson ? `${JSON.stringify(tree, null, 2)}\n` : renderSession(tree))
        }),
    )
    .addCommand(deleteSessionCommand())
}
