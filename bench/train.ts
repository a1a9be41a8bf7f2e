/** `npm run bench -- train`: the speed and memory of a training step, against the machine's f32 product peak. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { z } from 'zod'
import { figure, type Row } from './row.ts'

const gflopPerToken = 0.54
const leastShare = 0.25

const measurement = z.object({
  tokens: z.number(),
  stepSeconds: z.number(),
  sgemmGflops: z.number(),
  peakBytes: z.number(),
  threads: z.number(),
  losses: z.array(z.number()).min(1),
})

/** Two warm-up steps, then the median of five, in a child process. */
export async function run(): Promise<Row[]> {
  const worker = fileURLToPath(new URL('./train-worker.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [worker, '8', '128'])
  const measured = measurement.parse(JSON.parse(stdout))
  const tokensPerSecond = measured.tokens / measured.stepSeconds
  const gflops = tokensPerSecond * gflopPerToken
  const share = gflops / measured.sgemmGflops
  const work = `SmolLM2-135M shape, LoRA r=16 on all linear layers, 8 × 128 tokens, f32, ${measured.threads} threads`
  return [
    figure('train.speed.tokens', `${work}: forward, backward and AdamW`, tokensPerSecond, 'tokens/s'),
    figure(
      'train.speed.memory',
      `${work}: peak resident memory of the process`,
      measured.peakBytes / 2 ** 20,
      'MiB',
    ),
    {
      id: 'train.speed.flops',
      what: `${work}: FLOP/s at ${gflopPerToken} GFLOP a token, against the best sgemm of the same run`,
      value: gflops,
      unit: 'GFLOP/s',
      baseline: measured.sgemmGflops,
      ratio: share,
      must: `ratio ≥ ${leastShare}`,
      aim: 'ratio ≥ 0.5',
      ok: share >= leastShare,
    },
  ]
}
