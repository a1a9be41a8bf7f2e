/** What `npm run demo -- …` understands. */
import { parseArgs } from 'node:util'

export interface DemoOptions {
  /** Sessions captured, the held-out ones among them. */
  readonly sessions: number
  /** The newest of them, which training never sees. */
  readonly heldOut: number
  /** Sessions played after the takeover. */
  readonly fresh: number
  /** Training steps; null trains as the task's default says. */
  readonly steps: number | null
  /** Base URL of a real frontier; null starts the stand-in. */
  readonly upstream: string | null
  readonly seed: number
  /** Keeps what an earlier demo captured and trained. */
  readonly keep: boolean
}

export const usage = `npm run demo -- [options]
  --steps N       train only N steps (5 shows an under-trained model being refused)
  --sessions N    support sessions to capture (600)
  --held-out N    of them, newest: never trained on, only measured on (160)
  --fresh N       sessions after the takeover (60)
  --upstream URL  a real frontier instead of the stand-in; needs OPENAI_API_KEY, takes OPENAI_MODEL
  --seed N        another world (1)
  --keep          go on with what the last demo left
`

/** @throws RangeError with a sentence that says what to write instead */
export function parseOptions(args: readonly string[]): DemoOptions | null {
  const { values } = parseArgs({
    args: [...args],
    options: {
      steps: { type: 'string' },
      sessions: { type: 'string', default: '600' },
      'held-out': { type: 'string', default: '160' },
      fresh: { type: 'string', default: '60' },
      upstream: { type: 'string' },
      seed: { type: 'string', default: '1' },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return null
  const sessions = count('--sessions', values.sessions)
  const heldOut = count('--held-out', values['held-out'])
  if (heldOut >= sessions)
    throw new RangeError('--held-out has to be smaller than --sessions: the rest is trained on.')
  return {
    sessions,
    heldOut,
    fresh: count('--fresh', values.fresh),
    steps: values.steps === undefined ? null : count('--steps', values.steps),
    upstream: values.upstream ?? null,
    seed: count('--seed', values.seed),
    keep: values.keep,
  }
}

function count(flag: string, text: string): number {
  const number = Number(text)
  if (Number.isInteger(number) && number > 0) return number
  throw new RangeError(`${flag} takes a whole number above 0, not "${text}".`)
}
