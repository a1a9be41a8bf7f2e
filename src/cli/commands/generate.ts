import { Command } from 'commander'
import { z } from 'zod'
import { generateText } from '../../ops/text.ts'
import { openWorkspace } from '../../ops/workspace.ts'
import { stopSignal } from '../stop-signal.ts'
import { addTextOptions, textOptions, withoutStop } from '../text-options.ts'

export function generateCommand(): Command {
  const command = new Command('generate')
    .description('go on from a text, without a chat template')
    .argument('<target>', 'owned/X, X@3, a training, an adapter, or a base model')
    .argument('<prompt>')
  return addTextOptions(command, 256).action(async (target: string, prompt: string, given: unknown) => {
    const options = z.object(textOptions).parse(given)
    await using workspace = await openWorkspace()
    const signal = stopSignal()
    await withoutStop(signal, async () => {
      const onText = (text: string): void => void process.stdout.write(text)
      await generateText(workspace, {
        ...options,
        target,
        prompt,
        onText,
        signal,
        verbose: process.stderr.isTTY,
      })
    })
    process.stdout.write('\n')
  })
}
