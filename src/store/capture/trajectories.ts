/** Trajectories and groups, derived from calls; nothing of them is stored. */
import type { CallReply, CapturedCall, Group, Trajectory, TrajectoryTurn } from '../../contract/index.ts'

interface Turn {
  readonly call: CapturedCall
  readonly reply: CallReply
}

/**
 * The trajectories of calls, session by session: one for every reply that nothing in its session continues, from
 * its first message to that reply, first captured first. A chat of n calls is one trajectory; a prompt asked
 * again with another answer, or a conversation that goes on in two ways, is two. Equal replies to equal
 * prompts are one leaf, as they are one node.
 */
export function trajectoriesOf(calls: readonly CapturedCall[]): Trajectory[] {
  const byId = new Map(calls.map((call) => [call.id, call]))
  const chains = new Map<string, Turn[]>()
  const continued = new Set<string>()
  const turnsBefore = (call: CapturedCall): Turn[] => {
    const turns: Turn[] = []
    for (let at = call; at.parent !== null; ) {
      const parent = byId.get(at.parent)
      if (parent === undefined) break
      const reply = replyContinuedBy(parent, at)
      turns.push({ call: parent, reply })
      at = parent
    }
    return turns.toReversed()
  }
  for (const call of calls) {
    const before = turnsBefore(call)
    for (const { reply } of before) continued.add(leafOf(call, reply))
    for (const reply of call.replies) {
      const leaf = leafOf(call, reply)
      if (!chains.has(leaf)) chains.set(leaf, [...before, { call, reply }])
    }
  }
  return [...chains].flatMap(([leaf, turns]) => (continued.has(leaf) ? [] : [trajectoryOf(turns)]))
}

/** What a trajectory is known by. */
function leafOf(call: CapturedCall, reply: CallReply): string {
  return `${call.session}\0${reply.node}`
}

/** Of several choices, the one that the later prompt goes on from. */
function replyContinuedBy(parent: CapturedCall, later: CapturedCall): CallReply {
  const found = parent.replies.find((reply) => reply.node === later.parentNode) ?? parent.replies[0]
  if (found === undefined) throw new Error('Only a call with a reply is continued.')
  return found
}

function trajectoryOf(turns: readonly Turn[]): Trajectory {
  const last = turns.at(-1)
  if (last === undefined) throw new Error('A trajectory has a turn.')
  return {
    session: last.call.session,
    leaf: last.reply.node,
    messages: [...last.call.messages, last.reply.message],
    tools: last.call.tools,
    turns: turns.map(
      ({ call, reply }): TrajectoryTurn => ({
        index: call.messages.length,
        call: call.id,
        promptNode: call.promptNode,
        replyNode: reply.node,
      }),
    ),
  }
}

/**
 * The groups among calls, which may be of many sessions: the distinct replies to equal prompts, in the order
 * of the calls. Replies that `accept` refuses are left out, and so are prompts that are left without any.
 */
export function groupsOf(
  calls: readonly CapturedCall[],
  accept: (call: CapturedCall, reply: CallReply) => boolean = () => true,
): Group[] {
  const groups = new Map<string, Group>()
  for (const call of calls) {
    for (const reply of call.replies) {
      if (!accept(call, reply)) continue
      let group = groups.get(call.promptNode)
      if (group === undefined) {
        group = { promptNode: call.promptNode, messages: call.messages, tools: call.tools, members: [] }
        groups.set(call.promptNode, group)
      }
      const known = group.members.find((member) => member.replyNode === reply.node)
      if (known === undefined) {
        group.members.push({ replyNode: reply.node, message: reply.message, calls: [call.id] })
      } else if (!known.calls.includes(call.id)) known.calls.push(call.id)
    }
  }
  return [...groups.values()]
}
