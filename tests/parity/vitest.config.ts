/** `npm run test:parity`: the long forms of comparisons with reference implementations. */
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    root: fileURLToPath(new URL('../..', import.meta.url)),
    include: ['tests/parity/*.parity.ts'],
    pool: 'forks',
    maxWorkers: 1,
    testTimeout: 600_000,
  },
})
