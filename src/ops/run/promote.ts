/** Promote: give the adapter its number, write the report, and, where the gate agreed, change the route. */
import { join } from 'node:path'
import { z } from 'zod'
import type { GateDecision } from '../../contract/evaluation.ts'
import { formatVersion } from '../../contract/route.ts'
import { writeFileAtomically } from '../../lib/files.ts'
import { hashBaseModel } from '../base-hash.ts'
import { renderHtml } from '../report/html.ts'
import { renderMarkdown } from '../report/markdown.ts'
import { changeRoute } from '../route.ts'
import { assembleReport, type Stages } from './assemble-report.ts'
import type { RunContext } from './run-context.ts'
import { keyOf, type StageResult, type StageRunner, storedPath } from './stage.ts'

const promoteOutput = z.object({ version: z.string(), promoted: z.boolean() })
export type PromoteOutput = z.infer<typeof promoteOutput>

export const reportFiles = { html: 'report.html', markdown: 'report.md' }

export async function promote(
  context: RunContext,
  stages: StageRunner,
  earlier: Stages,
): Promise<StageResult<PromoteOutput>> {
  const { workspace, task } = context
  const decision: GateDecision = earlier.gated.output
  const inputs = { gated: earlier.gated.key }
  return await stages.run({
    name: 'promote',
    inputs,
    output: promoteOutput,
    async run({ output }) {
      // Both changes are keyed, so that a run killed between them does neither twice.
      const sourceKey = keyOf(task.name, 'promote', inputs)
      const version = await workspace.pipeline.versions.add(sourceKey, {
        task: task.name,
        baseModel: task.config.baseModel,
        baseHash: await hashBaseModel(task.config.baseModel),
        adapterPath: storedPath(workspace.home, join(earlier.trained.folder, 'adapter')),
        adapterHash: earlier.trained.output.adapterHash,
        servePolicy: task.config.serve,
        servingHash: earlier.evaluated.key,
        promoted: decision.promote,
        sentence: decision.sentence,
      })
      const name = formatVersion(task.name, version.number)
      const report = await assembleReport(context, stages, earlier, name)
      await writeFileAtomically(join(output, reportFiles.html), await renderHtml(report))
      await writeFileAtomically(join(output, reportFiles.markdown), renderMarkdown(report))
      if (decision.promote) {
        await changeRoute(workspace, task.name, {
          state: 'owned',
          version: name,
          reason: decision.sentence,
          sourceKey,
        })
      }
      return { version: name, promoted: decision.promote }
    },
    facts: (output) => ({
      version: output.version,
      route: output.promoted ? output.version : 'as it was',
    }),
  })
}
