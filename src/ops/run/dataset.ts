/** Dataset: from verdicts to the rows that train, and the held-out calls that measure. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { z } from 'zod'
import { renderMessage } from '../../../judge/render.ts'
import { selectRows } from '../../../judge/selection.ts'
import type { CapturedCall, HeldOutRow } from '../../contract/index.ts'
import { untrainableReason } from '../../contract/call.ts'
import { verdict } from '../../contract/verdict.ts'
import { ShadowError } from '../../lib/error.ts'
import { readJsonLines, toJsonLines, writeFileAtomically } from '../../lib/files.ts'
import type { RunContext } from './run-context.ts'
import { readSplit } from './split.ts'
import type { StageResult, StageRunner } from './stage.ts'

const datasetOutput = z.object({
  /** SHA-256 of train.jsonl: the content, free of ids of calls and times. */
  trainHash: z.string(),
  heldOutHash: z.string(),
  rows: z.number(),
  heldOutRows: z.number(),
  /** Held-out rows whose reference was imported; the others have the first captured reply. */
  importedReferences: z.number(),
  counts: z.record(z.string(), z.number()),
})
export type DatasetOutput = z.infer<typeof datasetOutput>

/** The files of a finished stage, with the SHA-256 of each. */
export function datasetFiles(output: unknown): [name: string, hash: string][] {
  const { trainHash, heldOutHash } = datasetOutput.parse(output)
  return [
    ['train.jsonl', trainHash],
    ['held-out.jsonl', heldOutHash],
  ]
}

export async function dataset(
  context: RunContext,
  stages: StageRunner,
  earlier: { split: StageResult<unknown>; judged: StageResult<unknown> },
): Promise<StageResult<DatasetOutput>> {
  const { task, workspace } = context
  const references = await workspace.pipeline.references.lookup(task.name)
  const { trainSessions, heldOutCalls } = await readSplit(earlier.split)
  const heldOut = heldOutRows(context.calls, new Set(heldOutCalls), references)
  return await stages.run({
    name: 'dataset',
    inputs: {
      judged: earlier.judged.key,
      threshold: task.config.threshold,
      heldOut: hash(toJsonLines(heldOut)),
    },
    output: datasetOutput,
    async run({ output }) {
      const calls = new Map(context.callsOf(trainSessions).map((call) => [call.id, call]))
      const { rows, counts } = selectRows({
        trajectories: context.trajectories(trainSessions),
        groups: context.groups(trainSessions),
        verdicts: await readJsonLines(join(earlier.judged.folder, 'verdicts.jsonl'), (value) =>
          verdict.parse(value),
        ),
        threshold: task.config.threshold,
        untrainable: (id, replyNode) => {
          const call = calls.get(id)
          const reply = call?.replies.find((one) => one.node === replyNode)
          return call === undefined || reply === undefined ? 'unknown' : untrainableReason(call, reply)
        },
      })
      if (rows.length === 0) {
        throw new ShadowError('no_calls', `No answer of task ${task.name} is good enough to learn from.`, {
          hint: `Look at the verdicts, or lower the threshold: \`shadow tasks set ${task.name} threshold=…\`.`,
        })
      }
      const train = toJsonLines(rows)
      const held = toJsonLines(heldOut)
      await writeFileAtomically(join(output, 'train.jsonl'), train)
      await writeFileAtomically(join(output, 'held-out.jsonl'), held)
      return {
        trainHash: hash(train),
        heldOutHash: hash(held),
        rows: rows.length,
        heldOutRows: heldOut.length,
        importedReferences: heldOut.filter((row) => row.referenceFrom === 'imported').length,
        counts: { ...counts },
      }
    },
    facts: (output) => ({
      rows: output.rows,
      'answers kept': output.counts['kept'] ?? 0,
      'below the threshold': output.counts['belowThreshold'] ?? 0,
      'lost their group': output.counts['lostGroup'] ?? 0,
      ...(output.counts['untrainable'] ? { untrainable: output.counts['untrainable'] } : {}),
      ...(output.counts['unjudged'] ? { unjudged: output.counts['unjudged'] } : {}),
      'held-out calls': output.heldOutRows,
    }),
  })
}

/** One row for each distinct prompt of a held-out session, with the frontier's first complete answer to it. */
export function heldOutRows(
  calls: readonly CapturedCall[],
  heldOut: ReadonlySet<string>,
  references: (messages: CapturedCall['messages']) => string | null,
): HeldOutRow[] {
  const rows = new Map<string, HeldOutRow>()
  const sessions = new Map<string, string>()
  for (const call of calls) {
    const [reply] = call.replies
    if (!heldOut.has(call.id) || call.status !== 'complete' || reply === undefined) continue
    // Named by order of appearance: a row's content must not depend on ids.
    const session = sessions.get(call.session) ?? `session-${sessions.size + 1}`
    sessions.set(call.session, session)
    const key = `${session} ${call.promptNode}`
    if (rows.has(key)) continue
    const imported = references(call.messages)
    const frontier = renderMessage(reply.message)
    rows.set(key, {
      promptNode: call.promptNode,
      session,
      messages: call.messages,
      tools: call.tools,
      reference: imported ?? frontier,
      referenceFrom: imported === null ? 'first_reply' : 'imported',
      frontier,
      maxTokens: null,
    })
  }
  return [...rows.values()]
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
