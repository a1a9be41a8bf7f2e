/**
 * `npm run build`: JavaScript and types of the published package, in dist. Node refuses to strip types
 * under node_modules, so what is published is built; a clone never needs this.
 */
import { cpSync, rmSync, statSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { run } from './command.mjs'
import { packageRoot } from './paths.mjs'
import { printedProgress, printFailure } from './progress.mjs'

const parts = ['src', 'proxy', 'judge', 'trainers']
/** What the compiler emits as something else, and what only readers of the source need. */
const notCopied = /\.(ts|mts|md)$/

const root = packageRoot()
const dist = join(root, 'dist')

try {
  await printedProgress().step('build', async () => {
    rmSync(dist, { recursive: true, force: true })
    const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    await run([process.execPath, compiler, '--project', join(root, 'tsconfig.build.json')], {
      cwd: root,
      failure: 'The package could not be built.',
    })
    for (const part of parts) {
      const filter = (/** @type {string} */ path) => statSync(path).isDirectory() || !notCopied.test(path)
      cpSync(join(root, part), join(dist, part), { recursive: true, filter })
    }
    return { detail: relative(process.cwd(), dist) + sep }
  })
} catch (thrown) {
  printFailure(thrown)
  process.exitCode = 1
}
