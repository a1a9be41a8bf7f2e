/**
 * A Jinja template that behaves as in Python where @huggingface/jinja does not: what `strip` and its kin
 * remove, and `trim` of what is no string.
 */
import type { Template } from '@huggingface/jinja'
import { z } from 'zod'
import { boundedRange, boundedTemplate } from './template-bounds.ts'

const deepest = 500

// Names that no template can spell.
const stripName = ' strip'
const trimName = ' trim'

const call = z.object({
  type: z.literal('CallExpression'),
  callee: z.object({
    type: z.literal('MemberExpression'),
    object: z.looseObject({ type: z.string() }),
    property: z.object({ type: z.literal('Identifier'), value: z.enum(['strip', 'lstrip', 'rstrip']) }),
    computed: z.literal(false),
  }),
  args: z.array(z.unknown()),
})
const trimmed = z.object({
  type: z.literal('FilterExpression'),
  operand: z.unknown(),
  filter: z.object({ type: z.literal('Identifier'), value: z.literal('trim') }),
})
export class TemplateProgram {
  readonly #template: Template

  /** @throws Error for a source that is not a template */
  constructor(source: string) {
    this.#template = boundedTemplate(source)
    rewrite(this.#template.parsed, 0)
  }

  /** @throws Error with the template's own words */
  render(variables: Readonly<Record<string, unknown>>): string {
    return this.#template.render({
      ...variables,
      bounded_range: boundedRange,
      [stripName]: strip,
      [trimName]: trim,
    })
  }
}

/** Puts calls of the functions below in the place of what Jinja's own would do otherwise than Python. */
function rewrite(node: unknown, depth: number): void {
  if (typeof node !== 'object' || node === null) return
  if (depth > deepest) throw new Error('it is nested too deeply')
  for (const child of Object.values(node)) rewrite(child, depth + 1)
  const named = (value: string): object => ({ type: 'Identifier', value })
  const method = call.safeParse(node).data
  if (method !== undefined) {
    const { object, property } = method.callee
    const sides = { type: 'StringLiteral', value: property.value }
    Object.assign(node, { callee: named(stripName), args: [object, sides, ...method.args] })
    return
  }
  const filter = trimmed.safeParse(node).data
  if (filter !== undefined) {
    Object.assign(node, { type: 'CallExpression', callee: named(trimName), args: [filter.operand] })
  }
}

/** What `str.strip()` of Python removes: White_Space and the four information separators. */
function isBlank(character: string): boolean {
  const code = character.charCodeAt(0)
  return /\p{White_Space}/u.test(character) || (code >= 0x1c && code <= 0x1f)
}

/** `str.strip`, `lstrip` and `rstrip`, with the characters to remove or without. */
function strip(text: unknown, method: string, characters?: unknown): string {
  if (typeof text !== 'string') throw new Error(`what is not a string has no ${method}()`)
  const goes = typeof characters === 'string' ? (c: string) => characters.includes(c) : isBlank
  const units = Array.from(text)
  let start = 0
  let end = units.length
  if (method !== 'rstrip') while (start < end && goes(units[start] ?? '')) start++
  if (method !== 'lstrip') while (end > start && goes(units[end - 1] ?? '')) end--
  return units.slice(start, end).join('')
}

/** The filter `trim`, which makes a string of anything. */
function trim(value: unknown): string {
  if (value === null) return 'None'
  if (value === undefined) return ''
  if (typeof value === 'string') return strip(value, 'strip')
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  throw new Error('only text can be trimmed')
}
