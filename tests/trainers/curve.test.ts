import { describe, expect, it } from 'vitest'
import type { MetricRecord } from '../../src/contract/run.ts'
import { lossCurve, progressText } from '../../trainers/training-line.ts'
import { metricName, plotMetric, series, smoothed, sparkline } from '../../trainers/curve.ts'

const records: MetricRecord[] = Array.from({ length: 40 }, (_, index) => ({
  step: index + 1,
  epoch: (index + 1) / 20,
  loss: 2 * Math.exp(-index / 12) + (index % 3 === 0 ? 0.3 : 0.1),
  lr: 1e-3 * (1 - index / 40),
  grad_norm: 1,
  target_tokens: 20,
  tokens: 100 * (index + 1),
  tokens_per_s: 100,
  unique_token_ratio: 0.5,
  elapsed_s: index + 1,
  peak_mem_gb: 0.4,
}))

describe('curves', () => {
  it('draw the loss with its mean, in so many lines', () => {
    expect(plotMetric(records, 'loss')).toMatchInlineSnapshot(`
      "loss
           ▲
        2.3┤● ●
           │  ·● ●
           │   ·  ● ●●
           │      · ·· ●● ●
       1.24┤           ··  ● ●●
           │                 ·  ●● ●● ●●    ·
           │                        · ·  ●● ●● ●● ●● ●● ●●    ●   ·    ·
      0.184┤                                       ·  · ·  ●●  ● ●● ●● ●
           └┬─────────────────────────────┬────────────────────────────┬▶
            1                            21                           40
      step 1–40 · last 0.3775 · avg 0.773 · ema 0.2912
      "
    `)
  })

  it('draw other metrics as they are, in a window, on a logarithmic axis, clipped', () => {
    expect(plotMetric(records, 'lr', { window: 20, log: true, width: 30, height: 5 })).toMatchInlineSnapshot(`
      "lr
              ▲
        0.0005┤· ·· ·· ··
              │           ·· ·· ·· ·
      0.000112┤                     · ··
              │                          ··
      0.000025┤                             ·
              └┬──────────────┬─────────────┬▶
              21             31            40
      step 21–40 · last 0.000025 · avg 0.0002625 · log
      "
    `)
    expect(
      plotMetric(records, 'loss', { clip: 0.95, smooth: 0, width: 30, height: 5 }),
    ).toMatchInlineSnapshot(`
      "loss
           ▲
       1.94┤···
           │   ··
       1.06┤     ····· ·
           │          · ····· · · ·  ·
      0.184┤                 · · ·········
           └┬──────────────┬─────────────┬▶
            1             21            40
      step 1–40 · last 0.3775 · avg 0.773 · clip p95
      "
    `)
    expect(plotMetric(records, 'grad_norm', { width: 20, height: 4 })).toMatchInlineSnapshot(`
      "grad_norm
       ▲
       │
       │
       │
      1┤····················
       └┬─────────┬────────┬▶
        1        21       40
      step 1–40 · last 1 · avg 1
      "
    `)
  })

  it('come down to a line while a training runs, and when it has ended', () => {
    const [last] = records.slice(-1)
    if (last === undefined || !('loss' in last)) throw new Error('The last record is of a step.')
    expect(progressText(last, null)).toBe('loss 0.3775  lr 2.5e-5  100 tokens/s  0.40 GB  1.0 steps/s')
    expect(progressText(last, 0.51234)).toContain('  eval 0.5123  ')
    expect(lossCurve(records)).toBe('2.300 █▇▆▅▅▄▄▄▃▃▂▂▂▂▂▁▂▁▂▁▁▁▁▁ 0.378')
    expect(lossCurve([])).toBe('')
  })

  it('say why there is nothing to draw', () => {
    expect(plotMetric(records, 'eval_loss')).toContain('evaluation not configured')
    expect(plotMetric([], 'loss')).toBe('loss: (no data yet)\n')
    const zero = records.map((record) => ({ ...record, lr: 0 }))
    expect(plotMetric(zero, 'lr', { log: true })).toContain('no value is above 0')
    expect(() => metricName('los')).toThrow('There is no metric los.')
  })

  it('are smoothed by an exponential mean, and thinned to blocks', () => {
    expect(smoothed([4, 0, 0], 0.5)).toEqual([4, 2, 1])
    expect(smoothed([], 0.5)).toEqual([])
    expect(sparkline([0, 1, 2, 3, 4, 5, 6, 7])).toBe('▁▂▃▄▅▆▇█')
    expect(sparkline([5, 5, 5])).toBe('▁▁▁')
    expect(
      sparkline(
        Array.from({ length: 100 }, (_, index) => -index),
        4,
      ),
    ).toBe('█▆▃▁')
    expect(sparkline([])).toBe('')
    const evaluation = { step: 40, epoch: 2, eval_loss: 0.5, elapsed_s: 41 }
    expect(series([...records, evaluation], 'eval_loss')).toEqual([[40, 0.5]])
    expect(series([...records, evaluation], 'loss')).toHaveLength(40)
  })
})
