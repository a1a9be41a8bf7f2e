/**
 * Chat templates are programs that come with a model's files. They get the bounds of Jinja's own sandbox, and
 * have to end in time: sooner when a model is loaded, where the conversation is one word.
 */
import { createContext, Script } from 'node:vm'
import { parse, Template, tokenize } from '@huggingface/jinja'

const longestRange = 100_000

/** Runs synchronous functions for a limited time; making one takes a millisecond, a run 0.1 ms. */
export class TimeLimit {
  readonly #context = createContext({})
  readonly #script = new Script('work()')

  /** @throws Error when it takes longer, else what the function throws */
  run<T>(limitMs: number, work: () => T): T {
    let result: { value: T } | undefined
    this.#context['work'] = () => {
      result = { value: work() }
    }
    this.#script.runInContext(this.#context, { timeout: limitMs })
    if (result === undefined) throw new Error('nothing came of it')
    return result.value
  }
}

/** A template whose `range` is the variable `bounded_range`. @throws Error for one that cannot be parsed */
export function boundedTemplate(source: string): Template {
  const template = new Template(source)
  // The package declares its own `range` and refuses a second one from outside.
  template.parsed.body.unshift(...parse(tokenize('{% set range = bounded_range %}')).body)
  return template
}

/** Jinja's `range`, which its sandbox ends at 100,000 numbers. @throws RangeError */
export function boundedRange(first: number, end?: number, step = 1): number[] {
  const [from, to] = end === undefined ? [0, first] : [first, end]
  const length = Math.max(0, Math.ceil((to - from) / step))
  if (!(length <= longestRange)) throw new RangeError(`range() may give at most ${longestRange} numbers`)
  return Array.from({ length }, (_, i) => from + i * step)
}
