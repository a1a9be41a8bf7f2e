import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { cacheDir } from '../../src/setup/paths.mjs'

const main = fileURLToPath(new URL('../../examples/demo/main.ts', import.meta.url))
const demoReport = z.object({
  refused: z.boolean(),
  sentence: z.string(),
  rows: z.array(z.object({ id: z.string(), value: z.number().nullable(), ok: z.boolean() })),
})

let home: string

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'demo-'))
})

afterAll(() => rm(home, { recursive: true }))

async function runDemo(args: readonly string[]): Promise<{ code: unknown; output: string }> {
  const child = spawn(process.execPath, [main, ...args], {
    env: { ...process.env, SHADOW_HOME: home, SHADOW_CACHE: cacheDir() },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  const [code] = await once(child, 'close')
  return { code, output }
}

describe('npm run demo', () => {
  it('shows an under-trained model being refused, and the frontier still answering', {
    timeout: 600_000,
  }, async () => {
    const { code, output } = await runDemo(['--steps', '2', '--sessions', '66', '--held-out', '42'])
    expect(code, output).toBe(0)
    expect(output).toMatch(/the gate refused/)
    const answered = /(\d+) of (\d+) new calls were answered by the frontier/.exec(output)
    expect(Number(answered?.[1])).toBeGreaterThan(0)
    expect(answered?.[1]).toBe(answered?.[2])

    const report = demoReport.parse(
      JSON.parse(await readFile(join(home, 'demo', 'demo-report.json'), 'utf8')),
    )
    expect(report.refused).toBe(true)
    expect(output).toContain(report.sentence)
    const valueOf = (id: string) => report.rows.find((row) => row.id === id)?.value ?? null
    expect(valueOf('demo.accuracy.frontier')).toBeGreaterThan(60)
    expect(valueOf('demo.accuracy.owned')).toBeLessThan(valueOf('demo.accuracy.frontier') ?? 0)
    expect(valueOf('demo.takeover.exact')).toBeNull()
    expect(report.rows.find((row) => row.id === 'demo.takeover.owned_share')?.ok).toBe(false)
  })

  it('says in one sentence what is wrong with an option', async () => {
    const { code, output } = await runDemo(['--steps', 'five'])
    expect(code).toBe(1)
    expect(output.trim()).toBe('The demo stopped: --steps takes a whole number above 0, not "five".')
  })
})
