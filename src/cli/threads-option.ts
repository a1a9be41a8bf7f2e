/** `--threads`, for the commands that compute here or start a process that does. */
import type { Command } from 'commander'
import { wholeFrom } from './number-options.ts'

/** The engine's processes inherit what is asked for. */
export function addThreadsOption(command: Command): Command {
  return command
    .option(
      '--threads <number>',
      'threads of the engine (or SHADOW_THREADS; default: the cores this process may use)',
      wholeFrom(1),
    )
    .hook('preAction', (_, action) => {
      const { threads } = action.opts<{ threads?: number }>()
      if (threads !== undefined) process.env['SHADOW_THREADS'] = String(threads)
    })
}
