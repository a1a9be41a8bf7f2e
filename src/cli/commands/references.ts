import { Command } from 'commander'
import { importReferences } from '../../ops/references.ts'
import { openWorkspace } from '../../ops/workspace.ts'

export function referencesCommand(): Command {
  return new Command('references').description('right answers, to measure against').addCommand(
    new Command('import')
      .description('import a JSONL file of {"input" or "messages", "answer"}')
      .argument('<task>')
      .argument('<file>')
      .action(async (task: string, file: string) => {
        await using workspace = await openWorkspace()
        const { read, total } = await importReferences(workspace, task, file)
        process.stdout.write(`${read} references read; task ${task} has ${total}.\n`)
      }),
  )
}
