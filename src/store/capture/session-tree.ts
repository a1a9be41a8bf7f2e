/** The tree that a session's calls make, by canonical nodes: what calls share is there once. */
import type { ChatMessage, SessionNode } from '../../contract/index.ts'

/** A canonical node, and what it says in this session. */
export interface Step {
  readonly node: Buffer
  readonly messages: readonly ChatMessage[]
}

export interface PlacedCall {
  readonly id: string
  readonly agent: string | null
  /** The prompt from its root on, which says nothing itself. */
  readonly path: readonly Step[]
  readonly replies: readonly { index: number; finishReason: string | null; step: Step }[]
}

/** @param calls in the order of arrival, which is that of branches too */
export function treeOf(calls: readonly PlacedCall[]): SessionNode[] {
  const roots: SessionNode[] = []
  const known = new Map<SessionNode | string, Map<string, SessionNode>>()
  const below = (parent: SessionNode | string, step: Step, agent: string | null): SessionNode => {
    const children = known.get(parent) ?? new Map<string, SessionNode>()
    known.set(parent, children)
    const name = step.node.toString('hex')
    const found = children.get(name)
    if (found !== undefined) return found
    const made: SessionNode = {
      node: name,
      agent,
      messages: [...step.messages],
      asked: [],
      repliedTo: [],
      children: [],
    }
    children.set(name, made)
    const siblings = typeof parent === 'string' ? roots : parent.children
    siblings.push(made)
    return made
  }
  for (const { id, agent, path, replies } of calls) {
    const [root, ...rest] = path
    if (root === undefined) continue
    let at: SessionNode | string = `${agent ?? ''}\0${root.node.toString('hex')}`
    for (const step of rest) at = below(at, step, agent)
    if (typeof at === 'string') at = below(at, root, agent)
    at.asked.push(id)
    for (const { index, finishReason, step } of replies) {
      below(at, step, agent).repliedTo.push({ call: id, index, finishReason })
    }
  }
  return roots
}
