/** The merge rule on an agent's episodes that share their opening words: what continues what is found again. */
import { expect, test } from 'vitest'
import { replayEpisodes } from '../support/replayed-episodes.ts'

test('with session headers every episode comes back as its own trajectory, edge by edge', async () => {
  const result = await replayEpisodes(true)
  expect(result.f1).toBe(1)
  expect(result.whole).toBe(result.episodes)
  expect(result.trajectories).toBe(result.episodes)
  expect(result.stats.uniqueMessages).toBeLessThan(result.stats.totalMessages / 5)
})

test('without any header nearly every edge is found', async () => {
  const result = await replayEpisodes(false)
  expect(result.f1).toBeGreaterThanOrEqual(0.99)
  expect(result.whole).toBeGreaterThanOrEqual(result.episodes * 0.9)
})

test('histories that the agent rewrites go on in their session, marked', async () => {
  const { f1, marked, wanted } = await replayEpisodes(true, true)
  expect(marked).toBeGreaterThan(wanted / 20)
  expect(f1).toBeGreaterThanOrEqual(0.995)
})
