/** What 1,000 training steps leave behind, measured in a process of its own. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { z } from 'zod'

const bytes = z.object({ activeBytes: z.number().positive(), rssBytes: z.number().positive() })
const measurement = z.object({ before: bytes, after: bytes })

/** Memory after `steps` steps of 2 × 32 tokens, over that after 50. */
export async function memoryGrowth(
  shape: 'tiny' | 'smollm2',
  steps: number,
): Promise<{ active: number; rss: number; rssBytes: number }> {
  const worker = fileURLToPath(new URL('./leak-worker.ts', import.meta.url))
  const args = ['--expose-gc', worker, shape, String(steps)]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  const { before, after } = measurement.parse(JSON.parse(stdout))
  return {
    active: after.activeBytes / before.activeBytes,
    rss: after.rssBytes / before.rssBytes,
    rssBytes: after.rssBytes,
  }
}
