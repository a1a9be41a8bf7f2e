import { Command } from 'commander'
import { listTasks, setTask, showTask } from '../../ops/tasks.ts'
import { openWorkspace } from '../../ops/workspace.ts'
import { renderTable } from '../table.ts'

export function tasksCommand(): Command {
  return new Command('tasks')
    .description('list the tasks, show one, or set what is decided about it')
    .argument('[name]', 'a task to show')
    .action(async (name: string | undefined) => {
      await using workspace = await openWorkspace()
      if (name !== undefined) {
        process.stdout.write(`${JSON.stringify(await showTask(workspace, name), null, 2)}\n`)
        return
      }
      const tasks = await listTasks(workspace)
      if (tasks.length === 0) {
        process.stdout.write(
          'No task yet. A task exists from its first call, or from `shadow tasks set NAME`.\n',
        )
        return
      }
      const rows = tasks.map((task) => [
        task.name,
        String(task.calls),
        String(task.sessions),
        task.route,
        task.version ?? '-',
      ])
      process.stdout.write(renderTable(['task', 'calls', 'sessions', 'route', 'newest version'], rows))
    })
    .addCommand(
      new Command('set')
        .description('create or change a task: shadow tasks set X judge.baseUrl=https://… gate.margin=0.01')
        .argument('<name>')
        .argument('[settings...]', 'key=value; a value is read as JSON where it is JSON')
        .action(async (name: string, settings: string[]) => {
          await using workspace = await openWorkspace()
          await setTask(workspace, name, settings)
          process.stdout.write(`Task ${name} is set.\n`)
        }),
    )
}
