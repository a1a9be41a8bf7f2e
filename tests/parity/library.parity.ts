import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { defaultModelName } from '../../src/setup/model.mjs'
import { runExample } from '../support/engine-example.ts'

test('the example teaches the default model its sentence', () => {
  const folder = mkdtempSync(join(tmpdir(), 'shadow-example-'))
  try {
    const text = runExample(defaultModelName, join(folder, 'adapter'))
    expect(text).toContain('after: Thank you for waiting.')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
