/**
 * Scores the replies of every group, each group once: a verdict is addressed by the keyed hash of what it is made
 * from, so that asking again costs nothing, and it is stored as soon as it is there.
 */
import { createHash } from 'node:crypto'
import PQueue from 'p-queue'
import type { Group, JudgeEndpoint, TaskConfig, Usage, Verdict } from '../src/contract/index.ts'
import { ShadowError } from '../src/lib/error.ts'
import { createJudgeClient, type JudgeClient, type JudgeClientOptions } from './judges/client.ts'
import { type Plan, planOf } from './plan.ts'
import { scorers } from './scorers/registry.ts'

/** Verdicts by id; a repository of the store fits. */
interface VerdictCache {
  get(id: string): Verdict | null | Promise<Verdict | null>
  put(verdict: Verdict): void | Promise<void>
}

export interface JudgingInput {
  task: string
  groups: readonly Group[]
  config: Pick<TaskConfig, 'rubric' | 'judge' | 'scorer'>
  /** The store's secret: ids, order and fence can't be guessed without it. */
  secret: Uint8Array
  cache: VerdictCache
  /** The right answer to a group's prompt, or null. Shown to the judge; without a judge the scorer compares with it. */
  references?: (group: Group) => string | null
  /** Another opinion on the same input: one verdict for each number. Default 0. */
  repeat?: number
}

export interface JudgingOptions {
  client?: JudgeClientOptions
  /** After each group. */
  onProgress?: (progress: { done: number; total: number; cached: number }) => void
  signal?: AbortSignal
}

export interface Judging {
  /** In the order of the groups; a group that no readable score was given for has none. */
  verdicts: Verdict[]
  /** Prompt nodes of the groups without a verdict. They are asked about again next time. */
  unread: string[]
  /** Verdicts that were there already. */
  cached: number
  /** Judge calls made now, retries of the client not counted. */
  calls: number
  /** Of the calls made now, as far as the endpoint reported it. */
  usage: Usage
}

/** Groups in a row, from the start, whose scores can't be read before the judge is taken for no judge. */
const unreadLimit = 8

/**
 * @throws ShadowError judge_failed when the endpoint can't be reached, declines, or answers no group readably;
 * missing_key. Every verdict that was finished by then is in the cache.
 */
export async function judgeGroups(input: JudgingInput, options: JudgingOptions = {}): Promise<Judging> {
  const { groups, config, cache } = input
  const client = config.judge === null ? null : createJudgeClient(config.judge, options.client)
  const queue = new PQueue({ concurrency: config.judge?.concurrency ?? 1 })
  // One failure stops what is waiting; what is under way still arrives and is kept.
  const stop = new AbortController()
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal])
  const found: (Verdict | null)[] = groups.map(() => null)
  const totals = { done: 0, cached: 0, calls: 0, read: 0, unread: 0 }
  const usage: Usage = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }

  async function settle(group: Group, index: number): Promise<void> {
    signal.throwIfAborted()
    const plan = planOf(input, group)
    const known = await cache.get(plan.id)
    if (known !== null) totals.cached += 1
    const verdict = known ?? (await judgeOne(input, group, plan, client, usage, totals, options.signal))
    found[index] = verdict
    if (verdict === null) totals.unread += 1
    else {
      totals.read += 1
      if (known === null) await cache.put(verdict)
    }
    totals.done += 1
    options.onProgress?.({ done: totals.done, total: groups.length, cached: totals.cached })
    if (totals.read === 0 && totals.unread >= Math.min(unreadLimit, groups.length))
      throw unreadable(config.judge)
  }

  const settled = await Promise.allSettled(
    groups.map((group, index) =>
      queue.add(async () => {
        try {
          await settle(group, index)
        } catch (thrown) {
          stop.abort(thrown)
          throw thrown
        }
      }),
    ),
  )
  if (settled.some((one) => one.status === 'rejected')) throw signal.reason
  return {
    verdicts: found.filter((verdict) => verdict !== null),
    unread: groups.filter((_, index) => found[index] === null).map((group) => group.promptNode),
    cached: totals.cached,
    calls: totals.calls,
    usage,
  }
}

export interface JudgingEstimate {
  groups: number
  /** Groups whose verdict is there already. */
  cached: number
  /** Groups that need no judge call: no judge is set. */
  free: number
  listwise: number
  pointwise: number
  /** Judge calls, if every one is answered readably. */
  calls: number
  /** About four characters a token. */
  promptTokens: number
}

/** What `judgeGroups` would ask for, without asking. */
export async function estimateJudging(input: JudgingInput): Promise<JudgingEstimate> {
  const estimate = { groups: input.groups.length, cached: 0, free: 0, listwise: 0, pointwise: 0 }
  let chars = 0
  for (const group of input.groups) {
    const plan = planOf(input, group)
    if (plan.judge === null) estimate.free += 1
    else if ((await input.cache.get(plan.id)) !== null) estimate.cached += 1
    else {
      estimate[plan.judge.kind] += 1
      chars += plan.judge.prompt(plan.request).reduce((sum, { content }) => sum + content.length, 0)
    }
  }
  return { ...estimate, calls: estimate.listwise + estimate.pointwise, promptTokens: Math.ceil(chars / 4) }
}

async function judgeOne(
  { task, config }: JudgingInput,
  group: Group,
  plan: Plan,
  client: JudgeClient | null,
  usage: Usage,
  totals: { calls: number },
  signal: AbortSignal | undefined,
): Promise<Verdict | null> {
  const { judge, request, nodes } = plan
  const begun = performance.now()
  const common = {
    id: plan.id,
    task,
    promptNode: group.promptNode,
    judge: plan.judgeName,
    rubricHash: createHash('sha256').update(config.rubric).digest('hex'),
  }
  if (judge === null || client === null) {
    const { reference } = request
    const score = (text: string): number =>
      reference === null ? 1 : scorers[config.scorer].score(text, reference)
    const scores = Object.fromEntries(
      request.replies.flatMap((text, index) => (nodes[index] ?? []).map((node) => [node, score(text)])),
    )
    const orderShown = group.members.map((member) => member.replyNode)
    return {
      ...common,
      kind: 'reference',
      scores,
      orderShown,
      rawReply: null,
      usage: null,
      tookMs: performance.now() - begun,
    }
  }
  const outcome = await judge.score(client, request, signal)
  totals.calls += outcome.calls
  usage.prompt_tokens += outcome.usage?.prompt_tokens ?? 0
  usage.completion_tokens += outcome.usage?.completion_tokens ?? 0
  usage.total_tokens += outcome.usage?.total_tokens ?? 0
  const scores = Object.fromEntries(
    outcome.scores.flatMap((score, index) =>
      score === null ? [] : (nodes[index] ?? []).map((node): [string, number] => [node, score]),
    ),
  )
  if (Object.keys(scores).length === 0) return null
  return {
    ...common,
    kind: judge.kind,
    scores,
    orderShown: outcome.shown.flatMap((index) => nodes[index] ?? []),
    rawReply: outcome.rawReplies.join('\n\n'),
    usage: outcome.usage,
    tookMs: performance.now() - begun,
  }
}

function unreadable(judge: JudgeEndpoint | null): ShadowError {
  return new ShadowError(
    'judge_failed',
    `No score can be read from what the judge at ${judge?.baseUrl ?? ''} answers.`,
    {
      hint: 'Check that its model is one that chats and can follow the instruction to answer in JSON.',
    },
  )
}
