import { expect, test } from 'vitest'
import { memoryGrowth } from '../../bench/leak-growth.ts'

// `npm run bench -- leak` takes 1,000 steps at full size, where 2 % is the bound for both. Here JavaScript's own heap,
// which settles some megabytes higher in the first hundreds of steps, is a good part of the whole.
test('training steps leave nothing behind', async () => {
  const { active, rss } = await memoryGrowth('tiny', 300)
  expect(active).toBeLessThanOrEqual(1.02)
  expect(rss).toBeLessThanOrEqual(1.06)
})
