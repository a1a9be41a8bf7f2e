import { describe, expect, it } from 'vitest'
import { trainConfig } from '../../src/contract/train-config.ts'
import {
  evaluationInterval,
  learningRateAt,
  stepsOf,
  totalSteps,
  warmupSteps,
} from '../../trainers/schedule.ts'

describe('schedules', () => {
  it('takes max_steps, else the epochs, else 60 steps, at least one', () => {
    const config = trainConfig.parse({
      per_device_train_batch_size: 4,
      gradient_accumulation_steps: 2,
      num_train_epochs: 2,
    })
    expect(totalSteps(config, 20)).toBe(5)
    expect(totalSteps(config, 1)).toBe(1)
    expect(totalSteps({ ...config, max_steps: 7 }, 20)).toBe(7)
    expect(totalSteps({ ...config, num_train_epochs: null }, 20)).toBe(60)
  })

  it('evaluates and saves after steps or a share of them', () => {
    const config = trainConfig.parse({})
    expect(evaluationInterval(config, 40)).toBe(10)
    expect(evaluationInterval(config, 3)).toBe(1)
    expect(evaluationInterval({ ...config, eval_steps: 0.1 }, 45)).toBe(5)
    expect(evaluationInterval({ ...config, eval_steps: 7 }, 45)).toBe(7)
    expect(stepsOf(0.001, 45)).toBe(1)
    expect(trainConfig.safeParse({ eval_steps: 1.5 }).success).toBe(false)
    expect(trainConfig.safeParse({ eval_steps: 0 }).success).toBe(false)
  })

  it('rises over the warm-up from zero, then falls, as in transformers', () => {
    const config = trainConfig.parse({ warmup_ratio: 0.2 })
    const rates = Array.from({ length: 10 }, (_, step) => learningRateAt(config, 1, step, 10))
    expect(rates).toEqual([0, 1 / 2, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    expect(warmupSteps({ ...config, warmup_ratio: null, warmup_steps: 3 }, 10)).toBe(3)
  })

  it('falls along half a cosine, or stays', () => {
    const cosine = trainConfig.parse({ warmup_ratio: 0, lr_scheduler_type: 'cosine' })
    expect(learningRateAt(cosine, 2, 0, 4)).toBe(2)
    expect(learningRateAt(cosine, 2, 2, 4)).toBeCloseTo(1, 12)
    expect(learningRateAt({ ...cosine, lr_scheduler_type: 'constant' }, 2, 3, 4)).toBe(2)
  })
})
