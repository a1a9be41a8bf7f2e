/** The `shadow` command: one file a command, each a thin face of an operation. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, CommanderError } from 'commander'
import { z } from 'zod'
import { packageRoot } from '../setup/paths.mjs'
import { callsCommand } from './commands/calls.ts'
import { chatCommand } from './commands/chat.ts'
import { checkpointsCommand } from './commands/checkpoints.ts'
import { doctorCommand } from './commands/doctor.ts'
import { exportCommand } from './commands/export.ts'
import { generateCommand } from './commands/generate.ts'
import { keysCommand } from './commands/keys.ts'
import { modelsCommand } from './commands/models.ts'
import { plotCommand } from './commands/plot.ts'
import { referencesCommand } from './commands/references.ts'
import { routeCommand } from './commands/route.ts'
import { runCommand } from './commands/run.ts'
import { runsCommand } from './commands/runs.ts'
import { serveCommand } from './commands/serve.ts'
import { sessionsCommand } from './commands/sessions.ts'
import { setupCommand } from './commands/setup.ts'
import { storeCommand } from './commands/store.ts'
import { tasksCommand } from './commands/tasks.ts'
import { ShadowError } from '../lib/error.ts'
import { renderError } from './render-error.ts'

const packageJson = z.object({ version: z.string(), description: z.string() })

async function main(): Promise<void> {
  const { version, description } = packageJson.parse(
    JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')),
  )
  const program = new Command('shadow')
    .description(description)
    .version(version)
    .showHelpAfterError('(--help lists what there is)')
    .exitOverride()
  program.addCommand(serveCommand())
  program.addCommand(runCommand())
  program.addCommand(tasksCommand())
  program.addCommand(referencesCommand())
  program.addCommand(routeCommand())
  program.addCommand(callsCommand())
  program.addCommand(sessionsCommand())
  program.addCommand(storeCommand())
  program.addCommand(runsCommand())
  program.addCommand(plotCommand())
  program.addCommand(checkpointsCommand())
  program.addCommand(exportCommand())
  program.addCommand(generateCommand())
  program.addCommand(chatCommand())
  program.addCommand(modelsCommand())
  program.addCommand(keysCommand())
  program.addCommand(doctorCommand())
  program.addCommand(setupCommand())
  await program.parseAsync()
}

// A reader that has seen enough (`| head`) is no fault.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

try {
  await main()
} catch (error) {
  // Commander has printed its own help or complaint already.
  if (error instanceof CommanderError) process.exitCode = error.exitCode
  else {
    process.stderr.write(renderError(error))
    // A script can add the flag and try again.
    process.exitCode = error instanceof ShadowError && error.code === 'missing_base' ? 2 : 1
  }
}
