import { describe, expect, it } from 'vitest'
import { trainConfig } from '../../src/contract/train-config.ts'
import { learningRateAt, totalSteps } from '../../trainers/schedule.ts'

describe('schedules', () => {
  it('takes max_steps, else the epochs, else one step', () => {
    const config = trainConfig.parse({ train_batch_size: 8, num_train_epochs: 2 })
    expect(totalSteps(config, 20)).toBe(5)
    expect(totalSteps(config, 1)).toBe(1)
    expect(totalSteps({ ...config, max_steps: 7 }, 20)).toBe(7)
  })

  it('rises over the warm-up from above zero, then falls', () => {
    const config = trainConfig.parse({ learning_rate: 1, warmup_ratio: 0.2 })
    const rates = Array.from({ length: 10 }, (_, step) => learningRateAt(config, step, 10))
    expect(rates).toEqual([1 / 3, 2 / 3, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
  })

  it('falls along half a cosine, or stays', () => {
    const cosine = trainConfig.parse({ learning_rate: 2, warmup_ratio: 0, lr_scheduler_type: 'cosine' })
    expect(learningRateAt(cosine, 0, 4)).toBe(2)
    expect(learningRateAt(cosine, 2, 4)).toBeCloseTo(1, 12)
    expect(learningRateAt({ ...cosine, lr_scheduler_type: 'constant' }, 3, 4)).toBe(2)
  })
})
