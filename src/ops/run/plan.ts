/** `--dry-run`: what a run would do and take, without doing it. */
import { z } from 'zod'
import { estimateJudging } from '../../../judge/judge-groups.ts'
import { splitSessions } from '../../../judge/split.ts'
import { rowsPerStep, totalSteps } from '../../../trainers/schedule.ts'
import { untrainableReason } from '../../contract/call.ts'
import type { Workspace } from '../workspace.ts'
import { countTokens } from './collect.ts'
import { judgingInput } from './judge.ts'
import { RunContext } from './run-context.ts'

export interface RunPlan {
  task: string
  calls: number
  sessions: number
  tokens: number
  uniqueTokens: number
  trainSessions: number
  heldOutSessions: number
  heldOutCalls: number
  groups: number
  judgeCalls: number
  judgeCached: number
  judgePromptTokens: number
  trainRows: number
  trainSteps: number
  trainTokens: number
  tokensPerSecond: number
  speedFrom: string
  estimatedMs: number
  notes: string[]
}

/** Tokens a second of training on two cores, until a training on this machine has said better. */
const assumedTokensPerSecond = 200
/** A judge call's wall time, concurrency taken into account. */
const assumedJudgeCallMs = 300
/** Prefill and decoding of a held-out call by base and owned together. */
const assumedEvaluationCallMs = 700

/** @throws ShadowError unknown_task | no_calls */
export async function planRun(workspace: Workspace, name: string, signal: AbortSignal): Promise<RunPlan> {
  const context = await RunContext.open(workspace, name, signal)
  const { config } = context.task
  const calls = context.calls
  const split = splitSessions(
    calls.filter((call) => call.status === 'complete'),
    config.holdOut,
  )
  const judging = await estimateJudging(judgingInput(context, split.trainSessions))
  const training = context.callsOf(split.trainSessions)
  const trajectories = context.trajectories(split.trainSessions)
  const usable = training.filter((call) =>
    call.replies.some((reply) => untrainableReason(call, reply) === null),
  )
  const trainRows = Math.min(trajectories.length, usable.length)
  const epochTokens = countTokens(training, context.countTokens).uniqueTokens
  const trainSteps = totalSteps(config.train, Math.max(1, trainRows))
  const epochs = (trainSteps * rowsPerStep(config.train)) / Math.max(1, trainRows)
  const trainTokens = Math.round(epochTokens * epochs)
  const speed = await lastSpeed(workspace, name)
  const tokensPerSecond = speed ?? assumedTokensPerSecond
  const references = await workspace.pipeline.references.count(name)
  const notes = [
    ...(config.judge === null ? ['no judge is set: every complete answer is kept'] : []),
    ...(references === 0 ? ['no references are imported: the first captured reply is the reference'] : []),
  ]
  return {
    task: name,
    calls: calls.length,
    sessions: new Set(calls.map((call) => call.session)).size,
    ...countTokens(calls, context.countTokens),
    trainSessions: split.trainSessions.length,
    heldOutSessions: split.heldOutSessions.length,
    heldOutCalls: split.heldOutCalls.length,
    groups: judging.groups,
    judgeCalls: judging.calls,
    judgeCached: judging.cached,
    judgePromptTokens: judging.promptTokens,
    trainRows,
    trainSteps,
    trainTokens,
    tokensPerSecond,
    speedFrom: speed === null ? 'an assumption until this machine has trained once' : 'as last measured here',
    estimatedMs:
      (1000 * trainTokens) / tokensPerSecond +
      judging.calls * assumedJudgeCallMs +
      split.heldOutCalls.length * assumedEvaluationCallMs,
    notes,
  }
}

async function lastSpeed(workspace: Workspace, task: string): Promise<number | null> {
  const trained = await workspace.pipeline.stages.latest(task, 'train')
  const parsed = z.object({ tokensPerSecond: z.number().positive() }).safeParse(trained?.output)
  return parsed.success ? parsed.data.tokensPerSecond : null
}
