import { Command } from 'commander'
import { listModels } from '../../ops/models.ts'
import { pullModel, removeModel } from '../../ops/pull/pull.ts'
import { formatBytes } from '../../setup/progress.mjs'
import { stopSignal } from '../stop-signal.ts'
import { renderTable } from '../table.ts'
import { createTerminalProgress } from '../terminal-progress.ts'

export function modelsCommand(): Command {
  return new Command('models')
    .description('list the base models that are here')
    .action(list)
    .addCommand(pullCommand())
    .addCommand(removeCommand())
}

function list(): void {
  const rows = listModels().map((model) => [
    model.name,
    model.family ?? '-',
    model.problem === null ? renderCount(model.parameters) : '-',
    formatBytes(model.bytes),
    model.storedAs ?? '-',
    model.problem ?? model.path,
  ])
  if (rows.length === 0) process.stdout.write('No model yet: `shadow setup` or `shadow models pull`.\n')
  else process.stdout.write(renderTable(['name', 'family', 'parameters', 'size', 'stored as', 'path'], rows))
}

function pullCommand(): Command {
  return new Command('pull')
    .description('fetch a base model from a Hugging Face hub, or copy one that is on this machine')
    .argument('<source>', 'owner/name, owner/name/file.gguf, a GGUF file or a Hugging Face folder')
    .option('--name <name>', 'what to call it here')
    .addHelpText(
      'after',
      '\nHF_TOKEN is used for gated models, HF_ENDPOINT for another hub. A pull that was stopped goes on.',
    )
    .action(async (source: string, { name }: { name?: string }) => {
      const progress = createTerminalProgress(process.stderr)
      const { path, family, parameters } = await pullModel({ source, name, progress, signal: stopSignal() })
      process.stdout.write(`${path}  ${family ?? ''}  ${renderCount(parameters)} parameters\n`)
    })
}

function removeCommand(): Command {
  return new Command('remove')
    .description('delete a base model from the cache')
    .argument('<name>')
    .action((name: string) => {
      process.stdout.write(`${formatBytes(removeModel(listModels(), name))} are free again.\n`)
    })
}

/** `135M`, `7.2B` */
function renderCount(parameters: number): string {
  if (parameters >= 1e9) return `${(parameters / 1e9).toFixed(1)}B`
  return parameters >= 1e6 ? `${Math.round(parameters / 1e6)}M` : `${Math.round(parameters / 1e3)}k`
}
