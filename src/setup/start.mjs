/** The body of the bootstrap: see bootstrap.mjs, which only checks that this file can be parsed. */
import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { SetupFailure } from './failure.mjs'
import { pinnedNode, pinnedNodeMissing } from './node.mjs'
import { ensurePackages } from './packages.mjs'
import { packageRoot } from './paths.mjs'
import { printedProgress, printFailure } from './progress.mjs'
import { handOver } from './hand-over.mjs'

/**
 * Makes the clone ready and hands over to the program named by the arguments.
 * @param {string[]} args
 */
export async function start(args) {
  try {
    const progress = printedProgress()
    await ensurePackages({ progress })
    // Loaded only now: it resolves packages that the step above installs.
    const { ensureReady } = await import('./ready.mjs')
    await ensureReady({ progress })
    const node = pinnedNode()
    if (node === undefined) throw new SetupFailure(pinnedNodeMissing)
    handOver(node, program(args))
  } catch (thrown) {
    printFailure(thrown)
    process.exitCode = 1
  }
}

/**
 * @param {string[]} args
 * @returns {string[]} the script's path and its arguments
 */
function program(args) {
  const [first, ...rest] = args
  if (first === '--dev') {
    const [tool, ...toolArgs] = rest
    if (tool === undefined) throw new SetupFailure('--dev needs the name of a tool, e.g. `--dev vitest run`.')
    return [toolScript(tool), ...toolArgs]
  }
  if (first === undefined)
    throw new SetupFailure(
      'Name the program to start, e.g. `node src/setup/bootstrap.mjs examples/demo/main.ts`.',
    )
  return [resolve(packageRoot(), first), ...rest]
}

/**
 * @param {string} tool a package of node_modules with a command of its own name
 * @returns {string}
 */
function toolScript(tool) {
  const manifest = join(packageRoot(), 'node_modules', tool, 'package.json')
  /** @type {{ bin?: string | Record<string, string> }} */
  const { bin } = JSON.parse(readFileSync(manifest, 'utf8'))
  const script = typeof bin === 'string' ? bin : bin?.[tool]
  if (script === undefined) throw new SetupFailure(`${tool} has no command of that name.`)
  return join(dirname(manifest), script)
}
