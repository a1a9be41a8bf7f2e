/** The tools that exports are made for really load them and answer as this engine does. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { peerCases, preparePeers } from './exports.ts'

const folder = mkdtempSync(join(tmpdir(), 'shadow-peers-'))
afterAll(() => rmSync(folder, { recursive: true }))
const ask = await preparePeers(folder)

test.each(peerCases)('$peer answers as we do', (peerCase) => {
  const { answer, expected, difference } = ask(peerCase)
  process.stdout.write(`${peerCase.peer}: largest difference of a logit ${difference.toExponential(2)}\n`)
  expect(difference).toBeLessThan(peerCase.tolerance)
  if (peerCase.rounded !== true) expect(answer.greedy).toEqual(expected.greedy)
  if (answer.ids !== undefined) expect(answer.ids).toEqual(expected.ids)
  if (answer.chat !== undefined) expect(answer.chat).toBe(expected.chat)
})
