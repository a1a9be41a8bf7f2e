/**
 * `npm run test:instructions`: the kernels' tests once for each instruction set that this processor has. The addon is
 * compiled for each, which takes a minute apiece the first time.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { instructionSets } from '../../src/engine/native/build-flags.mjs'
import { instructionSet } from '../../src/setup/engine.mjs'

const bootstrap = fileURLToPath(new URL('../../src/setup/bootstrap.mjs', import.meta.url))
const tests = [
  'kernels',
  'attention',
  'bfloat16',
  'frozen-matrix',
  'quantised-model',
  'families',
  'generation',
  'instructions',
].map((name) => `tests/engine/${name}.test.ts`)

for (const name of Object.keys(instructionSets)) {
  process.env['SHADOW_ENGINE_INSTRUCTIONS'] = name
  const { missing } = instructionSet()
  process.stdout.write(`\n${name}: ${missing ?? 'tested'}\n`)
  if (missing !== undefined) continue
  const { status } = spawnSync(process.execPath, [bootstrap, '--dev', 'vitest', 'run', ...tests], {
    stdio: 'inherit',
  })
  if (status !== 0) process.exitCode = 1
}
