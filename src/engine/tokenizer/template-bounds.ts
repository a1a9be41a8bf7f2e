/**
 * Chat templates are programs that come with a model's files. They get the bounds of Jinja's own sandbox, and
 * the first rendering, when a model is loaded, has to end in time.
 */
import { createContext, Script } from 'node:vm'
import { parse, Template, tokenize } from '@huggingface/jinja'

const longestRange = 100_000

/** Runs a synchronous function. @throws Error when it takes longer */
export function withinTime<T>(limitMs: number, work: () => T): T {
  let result: { value: T } | undefined
  const context = createContext({
    work: () => {
      result = { value: work() }
    },
  })
  new Script('work()').runInContext(context, { timeout: limitMs })
  if (result === undefined) throw new Error('nothing came of it')
  return result.value
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
