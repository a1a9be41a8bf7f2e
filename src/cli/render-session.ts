/** A session's tree as lines of text: a conversation runs straight down, and is indented where it branches. */
import { type ChatMessage, textOf } from '../contract/message.ts'
import type { SessionNode, SessionTree } from '../contract/session.ts'
import { renderDuration, renderTime } from './table.ts'

/** Characters of a message that are shown. */
const excerptChars = 88

type Call = SessionTree['calls'][number]

export function renderSession({ session, calls, roots }: SessionTree): string {
  const byId = new Map(calls.map((call) => [call.id, call]))
  const known = calls.flatMap(({ usage }) => usage ?? [])
  const tokens = known.reduce((sum, usage) => sum + usage.total_tokens, 0)
  const head = [
    `session ${session.id}`,
    ...(session.label === null ? [] : [`called ${JSON.stringify(session.label)}`]),
    `task ${session.task}`,
    renderTime(session.firstCallAt),
    `${calls.length} ${calls.length === 1 ? 'call' : 'calls'}`,
    known.length === 0 ? 'tokens unknown' : `${tokens} tokens`,
  ]
  const lines = [head.join(' · ')]
  for (const root of roots) {
    lines.push('')
    if (root.agent !== null) {
      const starter = calls.find(({ agent, parentAgent }) => agent === root.agent && parentAgent)?.parentAgent
      lines.push(`agent ${root.agent}${starter ? `, started by ${starter}` : ''}`)
    }
    drawNode(root, '', '', byId, lines)
  }
  return lines.map((line) => `${line.trimEnd()}\n`).join('')
}

function drawNode(
  node: SessionNode,
  firstIndent: string,
  indent: string,
  calls: ReadonlyMap<string, Call>,
  lines: string[],
): void {
  const messages = node.messages.map((message) => `${message.role.padEnd(10)} ${excerptOf(message)}`)
  for (const [place, line] of messages.entries()) lines.push(`${place === 0 ? firstIndent : indent}${line}`)
  for (const { call: id, index, finishReason } of node.repliedTo) {
    const call = calls.get(id)
    if (call !== undefined) lines.push(`${indent}  └ ${describe(call, index, finishReason)}`)
  }
  const answered = new Set(node.children.flatMap(({ repliedTo }) => repliedTo.map(({ call }) => call)))
  for (const id of node.asked) {
    const call = calls.get(id)
    if (call !== undefined && !answered.has(id))
      lines.push(`${indent}  └ ${describe(call, 0, null)}, no reply`)
  }
  const [only, ...others] = node.children
  if (only !== undefined && others.length === 0) {
    drawNode(only, indent, indent, calls, lines)
    return
  }
  for (const [place, child] of node.children.entries()) {
    const isLast = place === node.children.length - 1
    drawNode(child, `${indent}${isLast ? '└─ ' : '├─ '}`, `${indent}${isLast ? '   ' : '│  '}`, calls, lines)
  }
}

function describe(call: Call, index: number, finishReason: string | null): string {
  const { usage, timings, modelAnswered, modelAsked, continues, untrainable } = call
  return [
    `${call.id}${index === 0 ? '' : ` choice ${index}`}`,
    call.status + (finishReason === null ? '' : ` (${finishReason})`),
    `${modelAnswered ?? modelAsked} by ${call.servedBy}`,
    usage === null ? 'tokens unknown' : `${usage.prompt_tokens} + ${usage.completion_tokens} tokens`,
    renderDuration(timings.totalMs),
    ...(continues ? [`continues ${continues} with its history rewritten`] : []),
    ...(untrainable === 'media' ? ['images or files: not trainable yet'] : []),
    ...(call.redacted ? [`redacted: ${Object.keys(call.redacted).join(', ')}`] : []),
    ...(call.error === null ? [] : [`error: ${oneLine(call.error)}`]),
  ].join(', ')
}

function excerptOf(message: ChatMessage): string {
  const { content } = message
  const media = Array.isArray(content)
    ? content.filter((part) => part.text === undefined).map(({ type }) => `[${type}]`)
    : []
  const calls = (message.tool_calls ?? []).map((call) => `${call.function.name}(${call.function.arguments})`)
  const text = oneLine([textOf(message), ...media, ...calls].filter((piece) => piece !== '').join(' '))
  return text.length <= excerptChars ? text : `${text.slice(0, excerptChars - 1)}…`
}

/** What came from outside steers no terminal. */
function oneLine(text: string): string {
  return text.replace(/[\s\p{Cc}\p{Cf}]+/gu, ' ').trim()
}
