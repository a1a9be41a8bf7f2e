import { expect, test } from 'vitest'
import { sftLosses, worstLoss } from '../engine/sft-losses.ts'

test('the first twenty losses of a fine-tuning are those of TRL with PEFT, 1e-3 relative', () => {
  const losses = sftLosses(20)
  expect(losses.theirs).toHaveLength(20)
  expect(worstLoss(losses)).toBeLessThan(1e-3)
})
