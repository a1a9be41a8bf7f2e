/** Which task a call belongs to: the URL says so, or a header, or a rule; else it is the default task's. */
import { defaultTask, type Recognition, taskName } from '../src/contract/index.ts'
import { ShadowError } from '../src/lib/error.ts'

/** The tasks' rules, asked on every call; answers from memory. */
export interface TaskRules {
  rules(): readonly { task: string; recognise: Recognition }[]
  /** The name of the upstream that the task is set to; null where it is left to the request. */
  upstreamOf?(task: string): string | null
  /** Whether the upstream is to be asked for the token counts of streams whose agent doesn't. */
  asksUsage?(task: string): boolean
}

export interface TaskQuestion {
  /** From `/tasks/X/v1`, checked. */
  fromUrl: string | null
  /** From the header `x-task`. */
  fromHeader: string | null
  model: string
  systemText(): string
}

/** @throws ShadowError invalid_request when the header names what can't be a task */
export function taskOf(question: TaskQuestion, rules: TaskRules): string {
  if (question.fromUrl !== null) return question.fromUrl
  if (question.fromHeader !== null) return checkedTaskName(question.fromHeader)
  let systemText: string | null = null
  const found = rules.rules().find(({ recognise: { models, systemPrefix } }) => {
    if (models.length === 0 && systemPrefix === null) return false
    if (models.length > 0 && !models.includes(question.model)) return false
    if (systemPrefix === null) return true
    systemText ??= question.systemText()
    return systemText.startsWith(systemPrefix)
  })
  return found?.task ?? defaultTask
}

/** @throws ShadowError invalid_request */
export function checkedTaskName(name: string): string {
  const parsed = taskName.safeParse(name)
  if (parsed.success) return parsed.data
  throw new ShadowError('invalid_request', `"${name}" can't be a task.`, {
    hint: `${parsed.error.issues[0]?.message ?? 'Choose another name'}.`,
  })
}
