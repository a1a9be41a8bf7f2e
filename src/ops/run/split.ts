/** Split: which sessions training may see. It comes before everything that looks at an answer. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { splitSessions } from '../../../judge/split.ts'
import { ShadowError } from '../../lib/error.ts'
import { writeFileAtomically } from '../../lib/files.ts'
import type { RunContext } from './run-context.ts'
import type { StageResult, StageRunner } from './stage.ts'

const splitFile = z.object({
  trainSessions: z.array(z.string()),
  heldOutSessions: z.array(z.string()),
  heldOutCalls: z.array(z.string()),
  dropped: z.array(z.object({ call: z.string(), session: z.string(), promptNode: z.string() })),
})
export type SplitFile = z.infer<typeof splitFile>

const splitOutput = z.object({
  trainSessions: z.number(),
  heldOutSessions: z.number(),
  heldOutCalls: z.number(),
  dropped: z.number(),
})

export async function split(
  context: RunContext,
  stages: StageRunner,
  collected: StageResult<unknown>,
): Promise<StageResult<z.infer<typeof splitOutput>>> {
  const { task } = context
  return await stages.run({
    name: 'split',
    inputs: { collected: collected.key, holdOut: task.config.holdOut },
    output: splitOutput,
    async run({ output }) {
      const calls = context.calls.filter((call) => call.status === 'complete')
      const result = splitSessions(calls, task.config.holdOut)
      if (result.trainSessions.length === 0) {
        throw new ShadowError('no_calls', `Task ${task.name} has no complete call to learn from.`, {
          hint: 'Let the agent work through the proxy for a while, then run again.',
        })
      }
      await writeFileAtomically(join(output, 'split.json'), JSON.stringify(result))
      return {
        trainSessions: result.trainSessions.length,
        heldOutSessions: result.heldOutSessions.length,
        heldOutCalls: result.heldOutCalls.length,
        dropped: result.dropped.length,
      }
    },
    facts: (output) => ({
      'training sessions': output.trainSessions,
      'held-out sessions': output.heldOutSessions,
      'held-out calls': output.heldOutCalls,
      ...(output.dropped === 0 ? {} : { 'copies of training prompts left out': output.dropped }),
    }),
  })
}

export async function readSplit(stage: StageResult<unknown>): Promise<SplitFile> {
  return splitFile.parse(JSON.parse(await readFile(join(stage.folder, 'split.json'), 'utf8')))
}
