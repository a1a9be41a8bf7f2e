import { Command } from 'commander'
import { createKey, listKeys, revokeKey } from '../../ops/keys.ts'
import { openWorkspace } from '../../ops/workspace.ts'
import { renderTable, renderTime } from '../table.ts'

export function keysCommand(): Command {
  return new Command('keys')
    .description('keys to the proxy, which `shadow serve --host` asks for')
    .addCommand(
      new Command('create')
        .description('create a key, and show it this once')
        .argument('<name>', 'what you call it')
        .option('--task <names...>', 'only for these tasks')
        .action(async (name: string, options: { task?: string[] }) => {
          await using workspace = await openWorkspace()
          const { secret } = await createKey(workspace, name, options.task ?? [])
          process.stderr.write('This is shown once. Send it as x-shadow-key, or as the API key.\n')
          process.stdout.write(`${secret}\n`)
        }),
    )
    .addCommand(
      new Command('list').description('list the keys').action(async () => {
        await using workspace = await openWorkspace()
        const rows = (await listKeys(workspace)).map((key) => [
          key.id,
          key.name,
          key.tasks?.join(', ') ?? 'all',
          renderTime(key.createdAt),
          key.revokedAt === null ? 'good' : `revoked ${renderTime(key.revokedAt)}`,
        ])
        process.stdout.write(renderTable(['key', 'name', 'tasks', 'created', 'state'], rows))
      }),
    )
    .addCommand(
      new Command('revoke')
        .description('revoke a key; a running server refuses it a second later')
        .argument('<key>', 'its id or name')
        .action(async (key: string) => {
          await using workspace = await openWorkspace()
          await revokeKey(workspace, key)
          process.stdout.write(`Key ${key} is revoked.\n`)
        }),
    )
}
