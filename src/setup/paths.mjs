/**
 * Where Shadow keeps things. Two roots: the home (captured traffic, models the user trained; private)
 * and the cache (engine parts and downloaded models; can be deleted at any time and is fetched again).
 */
import { existsSync, mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SetupFailure, systemCode } from './failure.mjs'

/**
 * The private directory with everything that belongs to the user: `SHADOW_HOME`, else `~/.shadow`.
 * Created with mode 0700.
 * @returns {string}
 */
export function shadowHome() {
  return privateDir(resolve(process.env['SHADOW_HOME'] || join(homedir(), '.shadow')))
}

/**
 * The directory with engine parts, compiled addons and downloaded models: `SHADOW_CACHE`, else
 * `<home>/cache`. Created with mode 0700, since compiled code is loaded from it.
 * @returns {string}
 */
export function cacheDir() {
  const configured = process.env['SHADOW_CACHE']
  return privateDir(configured ? resolve(configured) : join(shadowHome(), 'cache'))
}

/**
 * What tells Node where it may keep what it compiles, so that a second start takes two thirds of the time. Nothing
 * where there is no cache yet: a start alone makes no folder.
 * @returns {{ NODE_COMPILE_CACHE?: string }}
 */
export function compileCache() {
  const home = process.env['SHADOW_HOME'] || join(homedir(), '.shadow')
  const folder = resolve(process.env['SHADOW_CACHE'] || join(home, 'cache'))
  return existsSync(folder) ? { NODE_COMPILE_CACHE: join(folder, 'compiled') } : {}
}

/**
 * The folder of the nearest package.json above a file: the clone's root, or the installed package's.
 * @param {string} [from] a file or folder inside the package
 * @returns {string}
 */
export function packageRoot(from = fileURLToPath(import.meta.url)) {
  let dir = dirname(from)
  while (!existsSync(join(dir, 'package.json'))) {
    const parent = dirname(dir)
    if (parent === dir) throw new Error(`No package.json above ${from}`)
    dir = parent
  }
  return dir
}

/**
 * Creates a directory that only its owner can enter, and returns it.
 * @param {string} dir
 * @returns {string}
 */
export function privateDir(dir) {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
  } catch (thrown) {
    throw new SetupFailure(
      `${dir} can not be created (${systemCode(thrown) ?? String(thrown)}); point SHADOW_HOME or SHADOW_CACHE at a folder that can.`,
    )
  }
  return dir
}
