/** Group: replies to the same prompt, side by side. */
import { join } from 'node:path'
import { z } from 'zod'
import { toJsonLines, writeFileAtomically } from '../../lib/files.ts'
import type { RunContext } from './run-context.ts'
import { readSplit } from './split.ts'
import type { StageResult, StageRunner } from './stage.ts'

const groupOutput = z.object({ groups: z.number(), contested: z.number(), replies: z.number() })

export async function group(
  context: RunContext,
  stages: StageRunner,
  split: StageResult<unknown>,
): Promise<StageResult<z.infer<typeof groupOutput>>> {
  return await stages.run({
    name: 'group',
    inputs: { split: split.key },
    output: groupOutput,
    async run({ output }) {
      const { trainSessions } = await readSplit(split)
      const groups = context.groups(trainSessions)
      // Nodes and calls only: the messages are in the tree once already.
      const stored = groups.map(({ promptNode, members }) => ({
        promptNode,
        members: members.map(({ replyNode, calls }) => ({ replyNode, calls })),
      }))
      await writeFileAtomically(join(output, 'groups.jsonl'), toJsonLines(stored))
      return {
        groups: groups.length,
        contested: groups.filter((one) => one.members.length > 1).length,
        replies: groups.reduce((sum, one) => sum + one.members.length, 0),
      }
    },
    facts: (output) => ({
      groups: output.groups,
      'with several replies': output.contested,
      'distinct replies': output.replies,
    }),
  })
}
