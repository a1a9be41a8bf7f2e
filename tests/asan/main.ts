/**
 * `npm run test:asan`: the addon compiled with AddressSanitizer, and the tests of everything native run on it once.
 * A read or write outside a buffer ends the process with a report of where. Linux, g++.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ensureEngine } from '../../src/setup/engine.mjs'
import { packageRoot } from '../../src/setup/paths.mjs'

const suites = [
  'tests/engine/kernels',
  'tests/engine/frozen-matrix',
  'tests/engine/bfloat16',
  'tests/engine/runtime',
  'tests/engine/tree',
  'tests/engine/generation',
  'tests/engine/llama',
  'tests/engine/quantised-model',
  'tests/engine/families.test',
  'tests/engine/mlx-quantised',
  'tests/engine/gguf-packed',
  'tests/engine/adapters',
  'tests/engine/full',
  'tests/engine/optim',
]

const compiler = 'g++ -fsanitize=address -fno-omit-frame-pointer -g1'
process.env['CXX'] = compiler
const addon = await ensureEngine()

// Node brings its own C++ runtime; the sanitizer looks for the shared one when it starts.
const libraries = ['libasan.so', 'libstdc++.so.6'].map((name) =>
  execFileSync('g++', [`-print-file-name=${name}`])
    .toString()
    .trim(),
)
const missing = libraries.find((path) => !existsSync(path))
if (missing !== undefined) {
  process.stderr.write(`${missing} is not here: install gcc's sanitizer libraries.\n`)
  process.exit(1)
}
if (!readFileSync(addon).includes('__asan_report_load')) throw new Error(`${addon} has no sanitizer in it`)
process.stdout.write(`${addon}\n`)
const vitest = join(packageRoot(), 'node_modules', 'vitest', 'vitest.mjs')
// Leaks are V8's and MLX's caches at exit; memory that an operator is done with is what counts.
const env = {
  ...process.env,
  LD_PRELOAD: libraries.join(' '),
  ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0:exitcode=99:detect_container_overflow=0',
}
const { status } = spawnSync(
  process.execPath,
  [vitest, 'run', '--maxWorkers=1', '--testTimeout=600000', ...suites, ...process.argv.slice(2)],
  { cwd: packageRoot(), env, stdio: 'inherit' },
)
process.exitCode = status ?? 1
