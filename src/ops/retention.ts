/** Retention: which calls are kept no longer, and letting go of them and of what was made of them. */
import type { DeletionPlan } from '../contract/deletion.ts'
import type { RetentionRules, StoreConfig } from '../contract/store-config.ts'
import type { Task } from '../contract/task.ts'
import { withDeleter } from './deletion.ts'
import { sweepDerived } from './sweep-derived.ts'
import type { Workspace } from './workspace.ts'

const dayMs = 86_400_000

/** Null where everything is kept. */
export function retentionRules(
  store: StoreConfig,
  tasks: readonly Task[],
  now: number,
): RetentionRules | null {
  const agoOf = (days: number | null) => (days === null ? null : now - days * dayMs)
  const { maxAgeDays, maxBytes } = store.retention
  const own = tasks.flatMap(({ name, config: { retention } }) => {
    const { maxAgeDays: age, maxCalls } = retention
    if (age === null && maxCalls === null) return []
    return [[name, { before: agoOf(age === 'keep' ? null : (age ?? maxAgeDays)), maxCalls }] as const]
  })
  const isOfAnyUse =
    maxAgeDays !== null ||
    maxBytes !== null ||
    own.some(([, rule]) => rule.before !== null || rule.maxCalls !== null)
  return isOfAnyUse ? { before: agoOf(maxAgeDays), maxBytes, tasks: Object.fromEntries(own) } : null
}

export async function currentRules({ pipeline }: Workspace): Promise<RetentionRules | null> {
  return retentionRules(await pipeline.settings.store(), await pipeline.tasks.list(), Date.now())
}

/** Lets go of what the rules say now, and of what was made of it; model versions stay. */
export async function enforceRetention(
  workspace: Workspace,
  keeper: { retain(rules: RetentionRules): Promise<DeletionPlan> },
): Promise<DeletionPlan> {
  const rules = await currentRules(workspace)
  if (rules === null) return { calls: 0, sessions: 0, tasks: [] }
  const plan = await keeper.retain(rules)
  if (plan.calls > 0) {
    await sweepDerived(workspace, plan.tasks, false)
    workspace.pipeline.scrub()
  }
  return plan
}

/**
 * What retention would let go of now, or, without `isDryRun`, lets go of at once.
 * @throws ShadowError busy when another process than a server writes to the home; store_failed
 */
export async function retainNow(workspace: Workspace, isDryRun: boolean): Promise<DeletionPlan> {
  const rules = await currentRules(workspace)
  if (rules === null) return { calls: 0, sessions: 0, tasks: [] }
  return await withDeleter(workspace, async (deleter) =>
    isDryRun ? await deleter.planRetention(rules) : await enforceRetention(workspace, deleter),
  )
}
