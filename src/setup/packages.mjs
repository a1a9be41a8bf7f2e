/** npm's packages of the clone: installed when they are missing or differ from the lock file. */
import { existsSync, readFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { run } from './command.mjs'
import { SetupFailure } from './failure.mjs'
import { withLock } from './lock.mjs'
import { pinnedNode, pinnedNodeMissing } from './node.mjs'
import { packageRoot } from './paths.mjs'
import { findNpm, hints } from './prerequisites.mjs'
import { silentProgress } from './progress.mjs'

/**
 * Runs `npm ci` unless node_modules already holds what the lock file says.
 * @param {{ progress?: import('./progress.mjs').Progress }} [options]
 * @throws {SetupFailure}
 */
export async function ensurePackages({ progress = silentProgress } = {}) {
  const root = packageRoot()
  if (isInstalled(root)) return
  const lock = `packages-${createHash('sha256').update(root).digest('hex').slice(0, 12)}`
  await withLock(lock, async () => {
    if (isInstalled(root)) return
    if (findNpm() === undefined) throw new SetupFailure(`npm was not found. ${hints.npm}`)
    await progress.step('npm packages', async () => {
      await run(['npm', 'ci', '--no-audit', '--no-fund', '--loglevel=error'], {
        cwd: root,
        failure:
          'npm could not install the packages: check the network and the registry (`npm config get registry`), then run this again.',
      })
      return {}
    })
  })
  if (pinnedNode() === undefined) throw new SetupFailure(pinnedNodeMissing)
}

/**
 * Compares the lock file with the record that npm leaves in node_modules after a finished installation.
 * Optional packages may be absent (they belong to other platforms), except for the pinned Node.
 * @param {string} root
 */
function isInstalled(root) {
  const record = join(root, 'node_modules', '.package-lock.json')
  if (!existsSync(record) || pinnedNode() === undefined) return false
  const wanted = lockedPackages(join(root, 'package-lock.json'))
  const found = lockedPackages(record)
  for (const [path, { version, optional }] of wanted) {
    if (path === '') continue
    const installed = found.get(path)
    if (installed === undefined ? !optional : installed.version !== version) return false
  }
  return true
}

/**
 * @param {string} path a package-lock.json
 * @returns {Map<string, { version: unknown, optional: boolean }>}
 */
function lockedPackages(path) {
  /** @type {unknown} */
  const content = JSON.parse(readFileSync(path, 'utf8'))
  const packages =
    content !== null && typeof content === 'object' && 'packages' in content ? content.packages : {}
  return new Map(
    Object.entries(packages ?? {}).map(([name, entry]) => [
      name,
      { version: entry.version, optional: entry.optional === true || entry.devOptional === true },
    ]),
  )
}
