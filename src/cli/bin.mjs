#!/usr/bin/env node
/**
 * What `shadow` starts: hands over to the pinned Node, on which main runs as TypeScript in a clone and as
 * JavaScript in an installed package.
 */
import { existsSync, realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { handOver } from '../setup/hand-over.mjs'
import { pinnedNode, pinnedNodeMissing } from '../setup/node.mjs'

const source = new URL('./main.ts', import.meta.url)
const main = existsSync(source) ? source : new URL('../../dist/src/cli/main.js', import.meta.url)
const node = pinnedNode()
if (node === undefined) {
  process.stderr.write(`${pinnedNodeMissing}\n`)
  process.exitCode = 1
} else if (realpathSync(process.execPath) === realpathSync(node)) {
  await import(main.href)
} else {
  handOver(node, [fileURLToPath(main), ...process.argv.slice(2)])
}
