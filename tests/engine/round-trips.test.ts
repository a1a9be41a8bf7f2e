import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { Runtime } from '../../src/engine/index.ts'
import { writeTinyModel } from '../support/tiny-model.ts'
import { exactTrips, logitTrips } from './round-trips.ts'

const folder = mkdtempSync(join(tmpdir(), 'shadow-trips-'))
afterAll(() => rmSync(folder, { recursive: true }))
const basePath = writeTinyModel(join(folder, 'base'))

const exact = await exactTrips(basePath, join(folder, 'exact'))
test.each(exact)('$name changes no tensor of $tensors', ({ tensors, changed }) => {
  expect(tensors).toBeGreaterThan(10)
  expect(changed).toBe(0)
})

const logits = await logitTrips(new Runtime({ threads: 2 }), basePath, join(folder, 'logits'))
test.each(logits)('$name: logits move by at most 1e-5', ({ difference }) => {
  expect(difference).toBeLessThan(1e-5)
})
