import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { decodeF32, ggmlTypes } from '../../src/engine/io/ggml-types.ts'

const bytes = z.base64().transform((text) => new Uint8Array(Buffer.from(text, 'base64')))
const fixture = z
  .record(z.string(), z.object({ blocks: bytes, values: bytes }))
  .parse(JSON.parse(readFileSync(new URL('../fixtures/engine/k-quants.json', import.meta.url), 'utf8')))

test.each(Object.entries(fixture))('%s: random blocks as the gguf package reads them', (name, expected) => {
  const type = [...ggmlTypes.values()].find((candidate) => candidate.name === name)
  const decoded = type?.decode?.(expected.blocks)
  expect(decoded?.length).toBe(6 * 256)
  expect(decoded).toEqual(decodeF32(expected.values))
})
