/** What the stages of one run share: the task as it was at the start, and the calls captured until then. */
import type { CapturedCall, Group, Task, Trajectory } from '../../contract/index.ts'
import type { CaptureReader } from '../../store/capture/capture-reader.ts'
import { groupsOf, trajectoriesOf } from '../../store/capture/trajectories.ts'
import type { Workspace } from '../workspace.ts'

export class RunContext {
  readonly workspace: Workspace
  readonly captured: CaptureReader
  readonly task: Task
  readonly signal: AbortSignal
  /** Counts a text's tokens with the base model's tokenizer. */
  readonly countTokens: (text: string) => number
  #calls: Promise<readonly CapturedCall[]> | null = null

  constructor(options: {
    workspace: Workspace
    captured: CaptureReader
    task: Task
    signal: AbortSignal
    countTokens: (text: string) => number
  }) {
    this.workspace = options.workspace
    this.captured = options.captured
    this.task = options.task
    this.signal = options.signal
    this.countTokens = options.countTokens
  }

  /** Every call of the task, as captured when it was first asked for; later ones wait for the next run. */
  calls(): Promise<readonly CapturedCall[]> {
    this.#calls ??= this.captured.callsOfTask(this.task.name)
    return this.#calls
  }

  async callsOf(sessions: readonly string[]): Promise<CapturedCall[]> {
    const wanted = new Set(sessions)
    return (await this.calls()).filter((call) => wanted.has(call.session))
  }

  /** Replies to equal prompts, of the given sessions alone. */
  async groups(sessions: readonly string[]): Promise<Group[]> {
    return groupsOf(await this.callsOf(sessions))
  }

  async trajectories(sessions: readonly string[]): Promise<Trajectory[]> {
    return trajectoriesOf(await this.callsOf(sessions))
  }
}
