import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EvalMetric, TrainMetric } from '../../src/contract/run.ts'
import { trainConfig } from '../../src/contract/train-config.ts'
import { BestModel } from '../../trainers/best-model.ts'
import { splitForEvaluation } from '../../trainers/eval-split.ts'
import { conversations, type Result, timeless, type TinyTraining, tinyTraining } from './tiny-training.ts'

function evaluations({ metrics }: Result): EvalMetric[] {
  return metrics.flatMap((metric) => ('eval_loss' in metric ? [metric] : []))
}

function steps({ metrics }: Result): TrainMetric[] {
  return metrics.flatMap((metric) => ('loss' in metric ? [metric] : []))
}

describe('a training', () => {
  let tiny: TinyTraining
  beforeAll(() => {
    tiny = tinyTraining()
  })
  afterAll(() => tiny[Symbol.dispose]())

  it('gives one step whatever the passes: 8 × 1 rows are 1 × 8 rows', async () => {
    const rows = conversations(8)
    const once = { max_steps: 1, per_device_train_batch_size: 8, adam_epsilon: 1 }
    const whole = steps(await tiny.run(once, { rows }))[0]
    const eighths = steps(
      await tiny.run({ ...once, per_device_train_batch_size: 1, gradient_accumulation_steps: 8 }, { rows }),
    )[0]
    expect(Math.abs((eighths?.loss ?? 0) / (whole?.loss ?? 0) - 1)).toBeLessThan(1e-5)
    expect(Math.abs((eighths?.grad_norm ?? 0) / (whole?.grad_norm ?? 0) - 1)).toBeLessThan(1e-5)
    expect(eighths?.unique_token_ratio).toBe(1)
    expect(whole?.unique_token_ratio).toBeLessThan(0.6)
  })

  it('records every logging_steps, and the last step; tokens add up, losses are means', async () => {
    const each = steps(await tiny.run({ max_steps: 7 }))
    const third = steps(await tiny.run({ max_steps: 7, logging_steps: 3 }))
    expect(third.map(({ step }) => step)).toEqual([3, 6, 7])
    expect(third.at(-1)?.tokens).toBe(each.at(-1)?.tokens)
    const mean = each.slice(0, 3).reduce((sum, { loss }) => sum + loss / 3, 0)
    expect(third[0]?.loss).toBeCloseTo(mean, 12)
    expect(third[0]?.target_tokens).toBe(each.slice(0, 3).reduce((sum, one) => sum + one.target_tokens, 0))
  })

  it('calls its hooks as it records', async () => {
    const seen: number[] = []
    const evaluated: number[] = []
    const settings = { max_steps: 6, logging_steps: 2, eval_dataset: 'auto', eval_steps: 3 }
    const result = await tiny.run(
      settings,
      {},
      {
        onStep: ({ step }, total) => seen.push(step / total),
        onEval: ({ step }) => evaluated.push(step),
      },
    )
    expect(seen).toEqual([2 / 6, 4 / 6, 1])
    expect(evaluated).toEqual([3, 6])
    expect(evaluations(result).map(({ step }) => step)).toEqual([3, 6])
  })

  it('evaluates on rows that do not train: in a part of them, or on others', async () => {
    const rows = conversations(6)
    const own = await tiny.run({ eval_dataset: '34%', eval_steps: 1 }, { rows })
    expect(evaluations(own)).toHaveLength(4)
    // What trains is not changed by rows that only evaluate.
    const plain = await tiny.run({}, { rows: rows.slice(0, 4) })
    const given = await tiny.run({ eval_steps: 1 }, { rows: rows.slice(0, 4), evalRows: rows.slice(4) })
    expect(given.hash).toBe(plain.hash)
    expect(evaluations(given)).toHaveLength(4)
    const alone = await tiny.run({ eval_dataset: 'auto' }, { rows: rows.slice(0, 1) })
    expect(alone.notes).toContainEqual('no row is left to evaluate on; there is no evaluation')
  })

  it('splits rows for evaluation by seed, both sides whole and never empty', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 50 }),
        fc.constantFrom('auto', '15%', 0.15, 0.99, '0.1%'),
        fc.nat(),
        (count, part, seed) => {
          const rows = Array.from({ length: count }, (_, row) => row)
          const config = trainConfig.parse({ eval_dataset: part, seed })
          const { train, evaluation } = splitForEvaluation(rows, config)
          expect([...train, ...evaluation].toSorted((a, b) => a - b)).toEqual(rows)
          const share = { auto: 0.1, '15%': 0.15, '0.1%': 0.001 }[String(part)] ?? Number(part)
          expect(evaluation).toHaveLength(Math.min(count - 1, Math.max(1, Math.round(share * count))))
          expect(train.length).toBeGreaterThan(0)
          expect(splitForEvaluation(rows, config).evaluation).toEqual(evaluation)
        },
      ),
    )
  })

  it('ends with the best checkpoint where it is asked to, and keeps it beside the newest', async () => {
    // The better the training's answers are learned, the worse these others do.
    const others = conversations(3).map((row) => ({
      ...row,
      messages: row.messages.with(4, { role: 'assistant', content: 'no' }),
    }))
    const worsening = {
      max_steps: 12,
      learning_rate: 0.03,
      warmup_steps: 0,
      lr_scheduler_type: 'constant',
      eval_steps: 1,
    }
    const more = { evalRows: others.map((row) => ({ ...row, loss: [0, 0, 0, 0, 1] })) }
    const losses = evaluations(await tiny.run(worsening, more)).map(({ eval_loss }) => eval_loss)
    const bestStep = losses.indexOf(Math.min(...losses)) + 1
    expect(bestStep).toBeLessThan(12)
    const best = await tiny.run({ ...worsening, load_best_model_at_end: true }, more)
    expect(best.bestStep).toBe(bestStep)
    expect(best.hash).toBe((await tiny.run({ ...worsening, max_steps: bestStep }, more)).hash)
    expect(best.notes.at(-1)).toMatch(`the adapter is that of step ${bestStep}`)
    const kept = readdirSync(best.workFolder).toSorted()
    expect(kept).toEqual(['metrics.ndjson', 'step-12', `step-${bestStep}`].toSorted())
  })

  it('stops early after as many evaluations without improvement as its patience', async () => {
    const settings = {
      max_steps: 8,
      eval_dataset: 0.4,
      eval_steps: 1,
      early_stopping_patience: 2,
      early_stopping_threshold: 1e3,
    }
    const stopped = await tiny.run(settings)
    expect({ state: stopped.state, steps: stopped.steps }).toEqual({ state: 'finished', steps: 3 })
    expect(stopped.notes.at(-1)).toBe('stopped early at step 3: 2 evaluations without improvement')
    const again = await tiny.run(settings, { workFolder: stopped.workFolder })
    expect({ steps: again.steps, hash: again.hash }).toEqual({ steps: 3, hash: stopped.hash })
    expect(again.notes).toContainEqual('already complete at step 3')
  })

  it('counts patience as transformers does: from the best, beyond the threshold', () => {
    const best = new BestModel(
      trainConfig.parse({ early_stopping_patience: 2, early_stopping_threshold: 0.1 }),
    )
    const told = [3, 2.5, 2.45, 2.2, 2.3, 2.15].map((loss, step) => [best.offer(step, loss), best.exhausted])
    expect(told).toEqual([
      [true, false],
      [true, false],
      [true, false],
      [true, false],
      [false, false],
      [true, true],
    ])
    expect(best.state.best).toEqual({ step: 5, eval_loss: 2.15 })
  })

  it('goes on from any step to the same adapter and metrics', async () => {
    const settings = {
      max_steps: 6,
      lora_dropout: 0.2,
      logging_steps: 4,
      eval_dataset: 0.4,
      eval_steps: 2,
      save_steps: null,
    }
    const whole = await tiny.run(settings)
    for (const stop of [1, 2, 5]) {
      let asked = 0
      const part = await tiny.run(settings, {}, { shouldStop: () => ++asked === stop })
      expect({ state: part.state, steps: part.steps }).toEqual({ state: 'stopped', steps: stop })
      const rest = await tiny.run(settings, { workFolder: part.workFolder })
      expect({ resumedFrom: rest.resumedFrom, hash: rest.hash }).toEqual({
        resumedFrom: stop,
        hash: whole.hash,
      })
      expect(timeless(rest.metrics)).toEqual(timeless(whole.metrics))
    }
    const done = await tiny.run(settings, { workFolder: whole.workFolder })
    expect({ hash: done.hash, resumedFrom: done.resumedFrom }).toEqual({ hash: whole.hash, resumedFrom: 6 })
    expect(done.notes).toContainEqual('already complete at step 6')
  })

  it('keeps moments of 8 bits where it is told to, and goes on from them to the same adapter', async () => {
    // Of this rank, factors are large enough to be packed.
    const settings = { optim: 'adamw_8bit', lora_r: 96, max_steps: 4 } as const
    const whole = await tiny.run(settings)
    expect(whole.hash).not.toBe((await tiny.run({ ...settings, optim: 'adamw_torch' })).hash)
    let asked = 0
    const { workFolder } = await tiny.run(settings, {}, { shouldStop: () => ++asked === 2 })
    expect(await tiny.run(settings, { workFolder })).toMatchObject({ resumedFrom: 2, hash: whole.hash })
  })

  it('keeps as many checkpoints as it is told to', async () => {
    const kept = async (save_total_limit: number | null, save_steps: number | null): Promise<string[]> =>
      readdirSync((await tiny.run({ max_steps: 6, save_steps, save_total_limit })).workFolder)
        .filter((name) => name.startsWith('step-'))
        .toSorted()
    expect(await kept(2, 2)).toEqual(['step-4', 'step-6'])
    expect(await kept(null, 0.34)).toEqual(['step-3', 'step-6'])
    expect(await kept(1, null)).toEqual(['step-6'])
  })

  it('refuses a checkpoint of another base, data or config, and names the difference; or goes on when forced', async () => {
    const { workFolder } = await tiny.run({})
    await expect(tiny.run({ learning_rate: 0.5, lora_r: 8 }, { workFolder })).rejects.toThrow(
      /belongs to another training: learning_rate 0.01 → 0.5; lora_r 16 → 8\.$/,
    )
    await expect(tiny.run({}, { workFolder, baseHash: 'other' })).rejects.toThrow(
      'training: base base → other.',
    )
    await expect(tiny.run({}, { workFolder, rows: conversations(5) })).rejects.toThrow(
      /training: data [0-9a-f]{12} → [0-9a-f]{12}\.$/,
    )
    await expect(tiny.run({}, { workFolder, evalRows: conversations(1) })).rejects.toThrow(
      /training: evaluation data none → [0-9a-f]{12}\.$/,
    )
    await expect(tiny.run({ max_steps: 6 }, { workFolder })).rejects.toThrow('max_steps 4 → 6')
    expect(await tiny.run({ max_steps: 6 }, { workFolder, force: true })).toMatchObject({
      resumedFrom: 4,
      steps: 6,
    })
    expect(
      (await tiny.run({ save_steps: 1, max_tokens_per_pass: 300 }, { workFolder, force: true })).state,
    ).toBe('finished')
  })

  it('goes on from a checkpoint elsewhere, whose folder stays as it is', async () => {
    const settings = { max_steps: 6, save_steps: 2, save_total_limit: null }
    const { workFolder, hash } = await tiny.run(settings)
    const from = join(workFolder, 'step-2')
    const before = readFileSync(join(from, 'state.json'), 'utf8')
    const rest = await tiny.run({ ...settings, resume_from_checkpoint: from })
    expect({ resumedFrom: rest.resumedFrom, hash: rest.hash }).toEqual({ resumedFrom: 2, hash })
    expect(rest.metrics.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6])
    expect(readFileSync(join(from, 'state.json'), 'utf8')).toBe(before)
    expect((await tiny.run({ ...settings, resume_from_checkpoint: workFolder })).resumedFrom).toBe(6)
  })

  it('names a checkpoint that is damaged', async () => {
    const { workFolder } = await tiny.run({})
    writeFileSync(join(workFolder, 'step-4', 'state.json'), '{"step": 4')
    await expect(tiny.run({}, { workFolder })).rejects.toThrow(/step-4\/state\.json can't be read/)
  })

  it('stops at a loss or gradient that is no number: names the row, keeps the last good checkpoint', async () => {
    const rows = conversations(6)
    const [, , third] = rows
    if (third === undefined) throw new Error('A row is missing.')
    // The second overflows in the gradient alone, which lora_alpha scales.
    for (const [weight, lora_alpha] of [
      [Number.POSITIVE_INFINITY, 32],
      [1e35, 1e6],
    ]) {
      const broken = rows.with(2, { ...third, loss: [0, 0, 0, 0, weight ?? 1] })
      let saved = 0
      const failed = tiny.run(
        { max_steps: 6, save_steps: 1, per_device_train_batch_size: 1, lora_alpha, learning_rate: 1e-12 },
        { rows: broken },
        { onStep: ({ step }) => (saved = step) },
      )
      await expect(failed).rejects.toThrow(/is not a finite number: Row 3\./)
      await expect(failed).rejects.toThrow(
        saved === 0 ? 'Step 1: ' : `The checkpoint of step ${saved} is kept.`,
      )
    }
  })
})
