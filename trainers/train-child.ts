/** The training child's entry: takes one job from its parent, reports every step, ends. */
import { setPriority } from 'node:os'
import { messageOf, ShadowError } from '../src/lib/error.ts'
import { type TrainEvent, trainCommand } from './protocol.ts'
import { runJob } from './run-job.ts'

/** Training gives way to whatever answers an agent. */
const niceness = 10

let stopping = false

// A run that was killed must not leave a training behind: what is saved is enough to go on.
process.on('disconnect', () => process.exit(0))

process.on('message', (raw) => {
  const command = trainCommand.parse(raw)
  if (command.type === 'stop') {
    stopping = true
    return
  }
  setPriority(niceness)
  runJob(command.job, {
    onStep: (metric, totalSteps) => tell({ type: 'step', totalSteps, metric }),
    onEval: (metric) => tell({ type: 'eval', metric }),
    onNote: (text) => tell({ type: 'note', text }),
    shouldStop: () => stopping,
  }).then(
    ({ steps, resumedFrom, stopped }) =>
      tell(stopped ? { type: 'stopped', step: steps } : { type: 'done', steps, resumedFrom }),
    (error: unknown) => {
      const known = error instanceof ShadowError ? error : new ShadowError('engine_failed', messageOf(error))
      tell({ type: 'failed', code: known.code, message: known.message, hint: known.hint ?? null })
    },
  )
})

function tell(event: TrainEvent): void {
  process.send?.(event)
}
