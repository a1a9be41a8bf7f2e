/** `npm run bench -- leak`: whether a training's memory grows. */
import { memoryGrowth } from './leak-growth.ts'
import { figure, type Row } from './row.ts'

const largestGrowth = 1.02

export async function run([steps = '1000']: readonly string[]): Promise<Row[]> {
  const { active, rss, rssBytes } = await memoryGrowth('smollm2', Number(steps))
  const work = `SmolLM2-135M shape, LoRA r=16 on all linear layers, ${steps} steps of 2 × 32 tokens, against after 50`
  const bound = (value: number) => ({ must: `≤ ${largestGrowth}`, ok: value <= largestGrowth })
  return [
    figure('train.leak.active', `${work}: MLX active memory`, active, 'ratio', bound(active)),
    figure(
      'train.leak.rss',
      `${work}: resident memory of the process, ${Math.round(rssBytes / 2 ** 20)} MiB at the end`,
      rss,
      'ratio',
      bound(rss),
    ),
  ]
}
