/** Memory that the system really refuses, in a process of its own whose data is limited. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { z } from 'zod'

const child = fileURLToPath(new URL('../support/out-of-memory-child.ts', import.meta.url))
const limitBytes = 1_200_000_000

test.runIf(process.platform === 'linux')(
  'a pass that the system has no memory for is out_of_memory, and a smaller one works after it',
  { timeout: 60_000 },
  async () => {
    const command = [`--data=${limitBytes}`, process.execPath, child]
    const { stdout } = await promisify(execFile)('prlimit', command)
    const { code, before, after } = z
      .object({ code: z.string(), before: z.number(), after: z.number() })
      .parse(JSON.parse(stdout))
    expect(code).toBe('out_of_memory')
    expect(after).toBe(before)
  },
)
