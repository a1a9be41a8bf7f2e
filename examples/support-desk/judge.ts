/**
 * A stand-in for a judging model: it reads the prompts that Shadow sends to a judge, knows the rule book,
 * and is wrong in a known share of its judgements. `node examples/support-desk/judge.ts --port 0 --seed 1`
 */
import { parseArgs } from 'node:util'
import { CannotAnswer, type ChatServerOptions, runChatServer, type Said } from './chat-server.ts'
import { judgeApproves } from './faults.ts'
import { createRuleBook } from './rule-book.ts'

interface Material {
  readonly userTurns: readonly string[]
  readonly answers: readonly { readonly id: string; readonly text: string }[]
}

/** A model seldom says 1 or 0. */
const approved = 0.95
const disapproved = 0.05

export function judgeOptions({ port, seed }: { port: number; seed: number }): ChatServerOptions {
  const book = createRuleBook()
  let judged = 0
  return {
    model: 'stand-in-judge',
    what: 'Stand-in judge (a rule book, not a model; wrong on purpose in 5 % of its judgements)',
    port,
    answer(conversation) {
      const prompt = promptOf(conversation)
      const { userTurns, answers } = readMaterial(prompt)
      judged += answers.length
      const scores = answers.map(({ id, text }) => ({
        id,
        score: judgeApproves(book, seed, userTurns, text) ? approved : disapproved,
      }))
      const single = scores[0]
      const wantsList = prompt.includes('"scores"')
      return JSON.stringify(wantsList || single === undefined ? { scores } : { score: single.score })
    },
    extend(app) {
      app.get('/stand-in/judgements', (context) => context.json({ judgements: judged }))
    },
  }
}

/** The message that carries the material; a judge that is asked again finds it further up. */
function promptOf(conversation: readonly Said[]): string {
  const found = conversation.find(({ role, text }) => role === 'user' && markLine.test(text))
  if (found === undefined) throw new CannotAnswer("This is no prompt of Shadow's judges: it states no mark.")
  return found.text
}

const markLine = /^The mark of this request is: (.+)$/m

/**
 * Cuts the material at the lines that begin with the mark. Nothing between two such lines is looked at for
 * structure, whatever it says.
 *
 * @throws CannotAnswer when there is no user message or no answer in it
 */
export function readMaterial(prompt: string): Material {
  const mark = markLine.exec(prompt)?.[1]
  if (mark === undefined) throw new CannotAnswer("This is no prompt of Shadow's judges: it states no mark.")
  const userTurns: string[] = []
  const answers: { id: string; text: string }[] = []
  for (const section of `\n${prompt}`.split(`\n${mark} `).slice(1)) {
    const [heading = '', ...lines] = section.split('\n')
    const text = lines.join('\n')
    if (/^message \d+ from user$/.test(heading)) userTurns.push(text)
    const id = /^answer (\S+)$/.exec(heading)?.[1]
    if (id !== undefined) answers.push({ id, text })
  }
  if (userTurns.length === 0 || answers.length === 0) {
    throw new CannotAnswer('The material holds no user message or no answer.')
  }
  return { userTurns, answers }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { port: { type: 'string', default: '0' }, seed: { type: 'string', default: '1' } },
  })
  await runChatServer(judgeOptions({ port: Number(values.port), seed: Number(values.seed) }))
}
