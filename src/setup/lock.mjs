/**
 * A lock between processes that set up the same cache (two terminals, two test runs). The lock file
 * names its owner; a lock whose owner is dead is taken over.
 */
import { linkSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemCode } from './failure.mjs'
import { cacheDir, privateDir } from './paths.mjs'

const pollMs = 200

/**
 * Runs `work` while holding the named lock of this cache; waits for whoever holds it.
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(name, work) {
  const path = join(privateDir(join(cacheDir(), 'locks')), `${name}.lock`)
  // The file appears with its content in one step (link), so nobody ever reads a lock without an owner.
  const ticket = `${path}.${process.pid}.${Date.now()}`
  writeFileSync(ticket, String(process.pid))
  try {
    while (!tryTake(ticket, path)) {
      removeIfDead(path, ticket)
      await sleep(pollMs)
    }
    try {
      return await work()
    } finally {
      rmSync(path, { force: true })
    }
  } finally {
    rmSync(ticket, { force: true })
  }
}

/**
 * @param {string} ticket
 * @param {string} path
 */
function tryTake(ticket, path) {
  try {
    linkSync(ticket, path)
    return true
  } catch (thrown) {
    if (systemCode(thrown) === 'EEXIST') return false
    throw thrown
  }
}

/**
 * @param {string} path
 * @param {string} ticket
 */
function removeIfDead(path, ticket) {
  const owner = readOwner(path)
  if (owner === undefined || isAlive(owner)) return
  // Moved aside before it is judged again: between reading and removing, another waiter may have
  // replaced the dead lock by a live one, which is then put back.
  const aside = `${ticket}.stale`
  try {
    renameSync(path, aside)
  } catch {
    return
  }
  const moved = readOwner(aside)
  if (moved !== undefined && isAlive(moved)) tryTake(aside, path)
  unlinkSync(aside)
}

/**
 * @param {string} path
 * @returns {number | undefined}
 */
function readOwner(path) {
  try {
    return Number(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (thrown) {
    return systemCode(thrown) === 'EPERM'
  }
}
