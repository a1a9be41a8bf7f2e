/**
 * Hostile files, by seed, fed to every loader in a process of its own. A finding is a crash, a hang, an error
 * that is not a ShadowError naming file and field, or memory beyond what the file's size can mean.
 */
import { fork } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'

/** Longer without the next input is a hang, on a machine that is busy with other things, too. */
const hangMs = 20_000

export const fuzzOrder = z.object({
  folder: z.string(),
  inputs: z.number(),
  firstSeed: z.number(),
  timeLimitMs: z.number(),
})

const fuzzReport = z.object({
  inputs: z.number(),
  refused: z.number(),
  findings: z.array(z.object({ target: z.string(), seed: z.number(), problem: z.string() })),
})
export type FuzzReport = z.infer<typeof fuzzReport>

/** Runs until the inputs or the time are used up. */
export async function fuzzFiles(order: Omit<z.infer<typeof fuzzOrder>, 'folder'>): Promise<FuzzReport> {
  const folder = mkdtempSync(join(tmpdir(), 'shadow-fuzz-'))
  try {
    return await runChild({ ...order, folder })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function runChild(order: z.infer<typeof fuzzOrder>): Promise<FuzzReport> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL('./child.ts', import.meta.url)), [JSON.stringify(order)])
    let report: FuzzReport | undefined
    let hung = false
    let last = -1
    const seedNow = (): number => {
      try {
        return Number(readFileSync(join(order.folder, 'progress'), 'utf8'))
      } catch {
        return -1
      }
    }
    const watch = setInterval(() => {
      const seed = seedNow()
      hung = seed === last && report === undefined
      last = seed
      if (hung) child.kill('SIGKILL')
    }, hangMs)
    child.on('message', (message) => {
      report = fuzzReport.parse(message)
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearInterval(watch)
      const seed = seedNow()
      const died = { target: 'process', seed, problem: hung ? 'hangs' : `died: ${code ?? signal}` }
      if (report !== undefined && code === 0) resolve(report)
      else resolve({ inputs: seed - order.firstSeed + 1, refused: 0, findings: [died] })
    })
  })
}
