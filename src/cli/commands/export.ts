import { Command, Option } from 'commander'
import { z } from 'zod'
import { exportFormats, exportTarget, exportTypes } from '../../ops/export.ts'
import { ShadowError } from '../../lib/error.ts'
import { openWorkspace } from '../../ops/workspace.ts'

const options = z.object({
  format: z.string(),
  out: z.string().optional(),
  to: z.string().optional(),
  base: z.string().optional(),
  type: z.string().optional(),
})

const exportFormat = z.enum(exportFormats)

/** What others call them. */
const otherNames: Readonly<Record<string, (typeof exportFormats)[number]>> = { adapter: 'peft', merged: 'hf' }

export function exportCommand(): Command {
  return new Command('export')
    .description('write a model for another tool')
    .argument('<target>', 'X@3, a training, an adapter (folder of PEFT or mlx-lm, GGUF LoRA) or a base model')
    .addOption(
      new Option('--format <format>', 'adapter: peft, mlx-lm, gguf-lora (llama.cpp); merged: hf, gguf')
        .choices([...exportFormats, ...Object.keys(otherNames)])
        .default('peft'),
    )
    .option('-o, --out <folder>', 'a new folder')
    .addOption(new Option('--to <folder>', 'the same as --out').hideHelp())
    .option('-m, --base <model>', 'base model, where the adapter does not name one that is here')
    .option(
      '--type <type>',
      `weights of merged models: hf ${exportTypes.hf.join(', ')}; gguf ${exportTypes.gguf.join(', ')} (the first is the default)`,
    )
    .action(async (target: string, given: unknown) => {
      const { out, to, ...rest } = options.parse(given)
      const format = otherNames[rest.format] ?? exportFormat.parse(rest.format)
      const outFolder = out ?? to
      if (outFolder === undefined)
        throw new ShadowError('invalid_request', 'There is no folder to write to.', {
          hint: 'Name a new one with --out.',
        })
      await using workspace = await openWorkspace()
      const files = await exportTarget(workspace, {
        target,
        outFolder,
        onNote: (text) => process.stderr.write(`${text}\n`),
        ...rest,
        format,
      })
      for (const { path, bytes } of files) process.stdout.write(`${path}  ${(bytes / 1e6).toFixed(1)} MB\n`)
    })
}
