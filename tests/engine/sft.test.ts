import { expect, test } from 'vitest'
import { sftLosses, worstLoss } from './sft-losses.ts'

// tests/parity runs all twenty.
test('the first three losses of a fine-tuning are those of TRL with PEFT, 1e-3 relative', () => {
  expect(worstLoss(sftLosses(3))).toBeLessThan(1e-3)
})
