/**
 * Templates may render a turn otherwise once others follow it: reasoning is stripped from history. Such a turn is
 * learned as it is generated, at the end of the conversation up to it. In the token tree that rendering is a side leaf
 * of the trunk that later turns see.
 */
import type { DatasetRow } from '../../src/contract/dataset.ts'
import type { ChatTemplate } from '../../src/engine/index.ts'

/** A leading part of a conversation, and which of its turns are learned there. */
export interface TurnView {
  /** How many messages, from the first on. */
  messages: number
  /** One entry for each of them. */
  lossOn: boolean[]
}

/**
 * Each turn that `lossOn` names in exactly one view: the whole conversation where the turn stands in it as it was
 * generated, else the conversation that ends with it. Views without a turn to learn are left out.
 * @throws ShadowError `invalid_request` if the template refuses the conversation
 */
export function turnViews(
  template: ChatTemplate,
  { messages, tools }: Pick<DatasetRow, 'messages' | 'tools'>,
  lossOn: readonly boolean[],
): TurnView[] {
  const last = messages.length - 1
  const earlier = lossOn.flatMap((learned, index) => (learned && index < last ? [index] : []))
  if (earlier.length === 0) return lossOn.includes(true) ? [{ messages: last + 1, lossOn: [...lossOn] }] : []
  const whole = template.render(messages, { tools })
  const stripped = earlier.filter((index) => {
    const prompt = template.render(messages.slice(0, index), { tools, addGenerationPrompt: true })
    const through = template.render(messages.slice(0, index + 1), { tools })
    return !whole.startsWith(prompt) || !whole.startsWith(through)
  })
  const trunk = lossOn.map((learned, index) => learned && !stripped.includes(index))
  return [
    ...(trunk.includes(true) ? [{ messages: last + 1, lossOn: trunk }] : []),
    ...stripped.map((turn) => ({
      messages: turn + 1,
      lossOn: Array.from({ length: turn + 1 }, (_, index) => index === turn),
    })),
  ]
}
