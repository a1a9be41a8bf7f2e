/** Recorded exchanges with real providers pass through the proxy unchanged, and are on record as they came. */
import { expect, test } from 'vitest'
import { replayCassettes } from '../support/replayed-cassettes.ts'

test('every recorded exchange passes byte for byte, and its request can be rebuilt', {
  timeout: 60_000,
}, async () => {
  const { exchanges, captured, source: _, ...found } = await replayCassettes()
  expect(found).toEqual({ different: [], notRebuilt: [], notRead: [] })
  expect(captured).toBeGreaterThanOrEqual(exchanges - 8)
})
