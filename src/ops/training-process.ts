/** The engine child that trains: at lower priority than everything that answers an agent. */
import { fork } from 'node:child_process'
import { messageOf, ShadowError } from '../lib/error.ts'
import { siblingModule } from '../lib/sibling-module.ts'
import { type TrainCommand, type TrainEvent, type TrainJob, trainEvent } from '../../trainers/protocol.ts'

/** What a process ends by that the system takes memory from, or that is refused some. */
const signalsOfMemory: ReadonlySet<NodeJS.Signals> = new Set(['SIGKILL', 'SIGSEGV', 'SIGABRT', 'SIGBUS'])

export interface TrainingResult {
  steps: number
  resumedFrom: number
}

/**
 * Runs a training to its end in a child process.
 * @param signal stops after the step under way, which is saved
 * @throws ShadowError training_diverged | out_of_memory | engine_failed
 */
export async function runTraining(
  job: TrainJob,
  onEvent: (event: TrainEvent) => void,
  signal?: AbortSignal,
): Promise<TrainingResult> {
  const child = fork(siblingModule(import.meta.url, '../../trainers/train-child'), {
    // Its own group: Ctrl-C reaches it as a `stop`, so that it saves before it ends.
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const send = (command: TrainCommand): void => {
    if (child.connected) child.send(command)
  }
  const stop = (): void => send({ type: 'stop' })
  signal?.addEventListener('abort', stop)
  try {
    return await new Promise<TrainingResult>((resolve, reject) => {
      child.on('message', (raw) => {
        const event = trainEvent.parse(raw)
        onEvent(event)
        if (event.type === 'done') resolve(event)
        if (event.type === 'stopped') {
          reject(
            new ShadowError('busy', `Stopped after step ${event.step}, which is saved.`, {
              hint: 'The same command goes on from there.',
            }),
          )
        }
        if (event.type === 'failed') {
          const code =
            event.code === 'out_of_memory' || event.code === 'training_diverged' ? event.code : null
          const options = event.hint === null ? {} : { hint: event.hint }
          reject(new ShadowError(code ?? 'engine_failed', event.message, options))
        }
      })
      child.once('error', (error) =>
        reject(new ShadowError('engine_failed', messageOf(error), { cause: error })),
      )
      child.once('exit', (code, exitSignal) => {
        const how = exitSignal === null ? `exit ${code}` : `signal ${exitSignal}`
        reject(
          new ShadowError('engine_failed', `The training process ended: ${how}.`, {
            hint:
              exitSignal !== null && signalsOfMemory.has(exitSignal)
                ? 'The machine may be out of memory: set train.gradient_checkpointing or lower train.max_tokens_per_pass. The same command goes on from the last checkpoint.'
                : 'The same command goes on from the last checkpoint.',
          }),
        )
      })
      send({ type: 'start', job })
    })
  } finally {
    signal?.removeEventListener('abort', stop)
    if (child.connected) child.disconnect()
  }
}
