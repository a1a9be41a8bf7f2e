/** What the agent tells the model. */
import { actionLine, outcomes } from './outcomes.ts'

/** Enough for a model that was trained on this desk, and for the stand-in, which knows it. */
export const shortInstruction = 'You are the support desk of Tidewater. Answer with one action line.'

/** For a real model, which has to be told what the action lines are. */
export function guide(): string {
  return [
    shortInstruction,
    'The action line names what to do and copies the values it needs from the conversation, exactly as written.',
    'Use ? for a value nobody has named. These are all the lines there are:',
    ...outcomes.map((outcome) =>
      actionLine({ outcome, values: Object.fromEntries(outcome.slots.map((slot) => [slot, `<${slot}>`])) }),
    ),
  ].join('\n')
}
