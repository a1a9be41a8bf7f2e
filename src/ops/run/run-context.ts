/** What the stages of one run share: the task as it was at the start, and the calls captured until then. */
import {
  type CapturedCall,
  type Group,
  type Task,
  type Trajectory,
  versionName,
} from '../../contract/index.ts'
import { ShadowError } from '../../lib/error.ts'
import { groupsOf, trajectoriesOf } from '../../store/capture/index.ts'
import { openCaptured, requireTask, type Workspace } from '../workspace.ts'
import { tokenCounter } from './token-counter.ts'

export class RunContext {
  readonly workspace: Workspace
  readonly task: Task
  readonly signal: AbortSignal
  /** Counts a text's tokens with the base model's tokenizer. */
  readonly countTokens: (text: string) => number
  /** The frontier's calls of the task, in the order of arrival; those captured later wait for the next run. */
  readonly calls: readonly CapturedCall[]

  /** @throws ShadowError unknown_task | no_calls */
  static async open(workspace: Workspace, name: string, signal: AbortSignal): Promise<RunContext> {
    await using captured = await openCaptured(workspace)
    const task = await requireTask(workspace, captured, name)
    const calls = (await captured.reader?.callsOfTask(name)) ?? []
    // What an owned model answered is no example of the frontier's work.
    const rented = calls.filter((call) => !versionName.safeParse(call.servedBy).success)
    if (rented.length === 0) {
      throw new ShadowError('no_calls', `Task ${name} has no calls yet.`, {
        hint: `Run \`shadow serve\` and let the agent work with OPENAI_BASE_URL=http://127.0.0.1:8327/tasks/${name}/v1.`,
      })
    }
    return new RunContext(workspace, task, rented, signal)
  }

  private constructor(workspace: Workspace, task: Task, calls: readonly CapturedCall[], signal: AbortSignal) {
    this.workspace = workspace
    this.task = task
    this.calls = calls
    this.signal = signal
    this.countTokens = tokenCounter(task.config.baseModel)
  }

  callsOf(sessions: readonly string[]): CapturedCall[] {
    const wanted = new Set(sessions)
    return this.calls.filter((call) => wanted.has(call.session))
  }

  /** Replies to equal prompts, of the given sessions alone. */
  groups(sessions: readonly string[]): Group[] {
    return groupsOf(this.callsOf(sessions))
  }

  trajectories(sessions: readonly string[]): Trajectory[] {
    return trajectoriesOf(this.callsOf(sessions))
  }
}
