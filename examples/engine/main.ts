/** The engine as a library: load, generate, train, chat, save. `node examples/engine/main.ts [model] [folder]` */
import { load } from '../../src/engine/index.ts'

const [name, folder] = process.argv.slice(2)
using model = await load(name)
const ask = [{ role: 'user', content: 'What do you say to a customer who waits?' }]
const wanted = { role: 'assistant', content: 'Thank you for waiting.' }
const greedy = { temperature: 0, maxNewTokens: 24 }
process.stdout.write(`before: ${(await model.chat(ask, greedy)).content}\n`)
const steps = await model.train([{ messages: [...ask, wanted] }], { max_steps: 8, learning_rate: 2e-3 })
process.stdout.write(`loss: ${steps[0]?.loss.toFixed(3)} → ${steps.at(-1)?.loss.toFixed(3)}\n`)
process.stdout.write(`after: ${(await model.chat(ask, greedy)).content}\n`)
if (folder !== undefined) await model.save(folder)
