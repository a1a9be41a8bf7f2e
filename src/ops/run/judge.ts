/** Judge: a score for every reply of the training sessions. Verdicts that exist already cost nothing. */
import { join } from 'node:path'
import { z } from 'zod'
import { judgeGroups, type JudgingInput } from '../../../judge/judge-groups.ts'
import { toJsonLines, writeFileAtomically } from '../../lib/files.ts'
import { openStoreSecret } from '../../store/secret.ts'
import type { RunContext } from './run-context.ts'
import { readSplit } from './split.ts'
import type { StageResult, StageRunner } from './stage.ts'

const judgeOutput = z.object({
  judge: z.string(),
  verdicts: z.number(),
  unread: z.number(),
  cached: z.number(),
  calls: z.number(),
  tokens: z.number(),
})
export type JudgeOutput = z.infer<typeof judgeOutput>

export async function judge(
  context: RunContext,
  stages: StageRunner,
  earlier: { split: StageResult<unknown>; grouped: StageResult<unknown> },
): Promise<StageResult<JudgeOutput>> {
  const { config } = context.task
  return await stages.run({
    name: 'judge',
    inputs: {
      grouped: earlier.grouped.key,
      rubric: config.rubric,
      judge: config.judge === null ? null : { baseUrl: config.judge.baseUrl, model: config.judge.model },
      scorer: config.scorer,
    },
    output: judgeOutput,
    async run({ output }, progress) {
      const { trainSessions } = await readSplit(earlier.split)
      const judging = await judgeGroups(judgingInput(context, trainSessions), {
        signal: context.signal,
        onProgress: ({ done, total, cached }) =>
          progress.update(done, total, cached === 0 ? '' : `${cached} known already`),
      })
      await writeFileAtomically(join(output, 'verdicts.jsonl'), toJsonLines(judging.verdicts))
      return {
        judge: config.judge?.model ?? 'none',
        verdicts: judging.verdicts.length,
        unread: judging.unread.length,
        cached: judging.cached,
        calls: judging.calls,
        tokens: judging.usage.total_tokens,
      }
    },
    facts: (output) => ({
      'judge model': output.judge,
      verdicts: output.verdicts,
      'judge calls': output.calls,
      ...(output.cached === 0 ? {} : { 'known already': output.cached }),
      ...(output.unread === 0 ? {} : { unreadable: output.unread }),
      'judge tokens': output.tokens,
    }),
  })
}

/** What the judge is asked; held-out sessions are not in it. */
export function judgingInput(context: RunContext, trainSessions: readonly string[]): JudgingInput {
  const { task, workspace } = context
  return {
    task: task.name,
    groups: context.groups(trainSessions),
    config: task.config,
    secret: openStoreSecret(workspace.home).of('judge', ''),
    cache: workspace.pipeline.verdicts,
  }
}
