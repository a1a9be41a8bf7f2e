import { PassThrough } from 'node:stream'
import { text as readAll } from 'node:stream/consumers'
import { stripVTControlCharacters } from 'node:util'
import { describe, expect, test } from 'vitest'
import { createTerminalProgress } from '../../src/cli/terminal-progress.ts'
import { progressText } from '../../trainers/training-line.ts'

const metric = {
  step: 36,
  epoch: 1.5,
  loss: 0.42134,
  lr: 9.5e-4,
  grad_norm: 1,
  target_tokens: 100,
  tokens: 9_000,
  tokens_per_s: 212.4,
  unique_token_ratio: 0.3,
  elapsed_s: 60,
  peak_mem_gb: 0.412,
}

/** What a terminal of so many columns, whose lines don't wrap, shows of a training at step 36 of 60; null: it is none. */
async function shown(columns: number | null): Promise<string> {
  const out = Object.assign(new PassThrough(), columns === null ? {} : { isTTY: true, columns })
  const progress = createTerminalProgress(out)
  const stage = progress.begin('train')
  stage.update(0, 60, '')
  stage.update(metric.step, 60, progressText(metric, 0.512))
  if (columns !== null) await new Promise((resolve) => setTimeout(resolve, 150))
  progress.end('train', { tookMs: 90_000, reused: false, facts: { steps: 60 } })
  out.end()
  const drawings = (await readAll(out)).split('\u001b[1G').map(stripVTControlCharacters)
  const last = drawings.findLast((drawing) => drawing.includes('36/60'))
  return last?.slice(0, columns ?? 0) ?? drawings.join('')
}

describe('the line of a training', () => {
  test('has a bar, steps, time left, loss, learning rate, speed and memory', async () => {
    expect(await shown(140)).toMatch(
      /^train {5}█{14}░{10} 36\/60 {2}\S+ left {2}loss 0\.4213 {2}lr 9\.5e-4 {2}212 tokens\/s {2}0\.41 GB {2}eval 0\.5120 {2}0\.60 steps\/s/,
    )
  })

  test('keeps these on a terminal of 80 columns', async () => {
    expect(await shown(80)).toMatch(
      /^train {5}█{4}░{2} 36\/60 {2}\S+ left {2}loss 0\.4213 {2}lr 9\.5e-4 {2}212 tokens\/s {2}0\.41 GB/,
    )
  })

  test('ends as a line of facts, which is all where nothing can be redrawn', async () => {
    expect(await shown(null)).toBe('train       1 min 30 s  steps 60\n')
  })
})
