/**
 * The engine as a contender of the decoding benchmark: `run N` on stdin generates greedily for N sequences together.
 * Argument: the job's file. Answers are lines of JSON: seconds from the first token to the last, and the ids.
 */
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { z } from 'zod'
import { GenerationScheduler, loadModel, Runtime } from '../src/engine/index.ts'

const job = z
  .object({
    model: z.string(),
    prompts: z.array(z.array(z.number())),
    tokens: z.number(),
    threads: z.number(),
    quantization: z.enum(['none', 'keep']),
    dtype: z.enum(['float32', 'bfloat16']),
  })
  .parse(JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')))

const runtime = new Runtime({ threads: job.threads })
const { model } = loadModel(runtime, job.model, { quantization: job.quantization, dtype: job.dtype })

/** The clock starts when every sequence has its first token; what others had by then is not counted. */
async function run(sequences: number): Promise<object> {
  using generator = new GenerationScheduler(model, {
    maxBatch: sequences,
    maxContext: 256,
    prefillRows: 1024,
  })
  let started = 0
  let startMs = 0
  let endMs = 0
  let counted = 0
  const results = await Promise.all(
    job.prompts.slice(0, sequences).map((promptIds) => {
      let own = 0
      return generator.submit({
        promptIds,
        maxTokens: job.tokens,
        temperature: 0,
        topP: 1,
        stopIds: [],
        onToken: () => {
          endMs = performance.now()
          if (started === sequences) counted++
          if (own++ === 0 && ++started === sequences) startMs = endMs
        },
      })
    }),
  )
  return { seconds: (endMs - startMs) / 1000, tokens: counted, ids: results.map(({ ids }) => ids) }
}

function answer(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

answer({ ready: true })
for await (const command of createInterface(process.stdin)) answer(await run(Number(command.split(' ')[1])))
