import { text as readAll } from 'node:stream/consumers'
import { Command } from 'commander'
import { z } from 'zod'
import { ShadowError } from '../../lib/error.ts'
import { Chat, readTools } from '../../ops/text.ts'
import { openWorkspace } from '../../ops/workspace.ts'
import { say, talk } from '../talk.ts'
import { addTextOptions, textOptions } from '../text-options.ts'

const options = z.object({ ...textOptions, system: z.string().optional(), tools: z.string().optional() })

export function chatCommand(): Command {
  const command = new Command('chat')
    .description('talk with a model; what is piped in is one question')
    .argument('<target>', 'owned/X, X@3, a training, an adapter, or a base model')
    .option('--system <text>', 'system message')
    .option('--tools <file>', "tools as OpenAI's requests list them, in JSON")
  return addTextOptions(command, 512).action(async (target: string, given: unknown) => {
    const { tools, ...rest } = options.parse(given)
    const listed = tools === undefined ? [] : readTools(tools)
    await using workspace = await openWorkspace()
    const verbose = process.stderr.isTTY
    using chat = await Chat.open(workspace, { ...rest, target, verbose, tools: listed })
    if (process.stdin.isTTY) await talk(chat, process)
    else {
      const question = (await readAll(process.stdin)).trim()
      if (question === '')
        throw new ShadowError('invalid_request', 'There is no question: nothing was piped in.', {
          hint: 'Pipe text in, or start it in a terminal.',
        })
      await say(chat, question, process.stdout)
    }
  })
}
