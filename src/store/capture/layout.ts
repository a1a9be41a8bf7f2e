/**
 * A body without the values that are stored elsewhere: the bytes that are left, and where the holes are.
 * Filling the holes gives the body back byte for byte.
 */
import { z } from 'zod'
import type { Slice } from '../../lib/json-slices.ts'

const position = { at: z.number().int().nonnegative() }

const hole = z.discriminatedUnion('kind', [
  /**
   * Messages of the request, and what stands between each two of them (one text where it never differs): all of
   * the prompt's, or, where they don't lie side by side, `count` of them from place `from` on.
   */
  z.object({
    ...position,
    kind: z.literal('messages'),
    between: z.union([z.string(), z.array(z.string())]),
    from: z.number().int().nonnegative().optional(),
    count: z.number().int().nonnegative().optional(),
  }),
  z.object({ ...position, kind: z.literal('tools') }),
  z.object({ ...position, kind: z.literal('part'), hash: z.string() }),
  /** Bytes that stand here as base64. */
  z.object({ ...position, kind: z.literal('blob'), hash: z.string() }),
  /** A reply's message, by its place among the choices. */
  z.object({ ...position, kind: z.literal('reply'), place: z.number().int().nonnegative() }),
])
export type Hole = z.infer<typeof hole>

/** What fills a hole; `at` follows from the slice that is cut out. */
export type Filling =
  | { kind: 'messages'; between: string | string[]; from?: number; count?: number }
  | { kind: 'tools' }
  | { kind: 'part'; hash: string }
  | { kind: 'blob'; hash: string }
  | { kind: 'reply'; place: number }

export interface Layout {
  readonly literal: Uint8Array
  readonly holes: readonly Hole[]
}

/** Cuts slices out of a body. They must not overlap. */
export function cutOut(body: Uint8Array, cuts: readonly { slice: Slice; filling: Filling }[]): Layout {
  const pieces: Uint8Array[] = []
  const holes: Hole[] = []
  let length = 0
  let end = 0
  for (const { slice, filling } of cuts.toSorted((a, b) => a.slice.start - b.slice.start)) {
    const piece = body.subarray(end, slice.start)
    pieces.push(piece)
    length += piece.length
    holes.push({ at: length, ...filling })
    end = slice.end
  }
  pieces.push(body.subarray(end))
  return { literal: Buffer.concat(pieces), holes }
}

/** The body again. */
export function fillIn(layout: Layout, bytesOf: (hole: Hole) => Uint8Array): Buffer {
  const pieces: Uint8Array[] = []
  let end = 0
  for (const each of layout.holes) {
    pieces.push(layout.literal.subarray(end, each.at), bytesOf(each))
    end = each.at
  }
  pieces.push(layout.literal.subarray(end))
  return Buffer.concat(pieces)
}

export function writeHoles(holes: readonly Hole[]): string {
  return JSON.stringify(holes)
}

export function readHoles(text: string): Hole[] {
  return z.array(hole).parse(JSON.parse(text))
}

/**
 * Slices cut into rows in which each lies behind the one before it, with none of `apart` in between.
 * @returns for each row where it begins in `slices`, and its slices
 */
export function rowsOf(
  slices: readonly Slice[],
  apart: readonly Slice[],
): { from: number; slices: readonly Slice[] }[] {
  const rows: { from: number; slices: Slice[] }[] = []
  for (const [place, slice] of slices.entries()) {
    const row = rows.at(-1)
    const before = row?.slices.at(-1)
    const isNext =
      before !== undefined &&
      slice.start >= before.end &&
      !apart.some(({ start }) => start >= before.end && start < slice.start)
    if (row !== undefined && isNext) row.slices.push(slice)
    else rows.push({ from: place, slices: [slice] })
  }
  return rows
}

/** The slice that all of `slices` lie in, and what stands between them. */
export function listOf(
  body: Uint8Array,
  slices: readonly Slice[],
): { slice: Slice; between: string | string[] } {
  const texts: string[] = []
  for (const [place, slice] of slices.entries()) {
    const before = slices[place - 1]
    if (before !== undefined)
      texts.push(Buffer.from(body.subarray(before.end, slice.start)).toString('latin1'))
  }
  const [first = ','] = texts
  return {
    slice: { start: slices[0]?.start ?? 0, end: slices.at(-1)?.end ?? 0 },
    between: texts.every((text) => text === first) ? first : texts,
  }
}

/** The reverse of `listOf`. */
export function joinList(items: readonly Uint8Array[], between: string | string[]): Buffer {
  const pieces: Uint8Array[] = []
  for (const [place, item] of items.entries()) {
    if (place > 0) {
      const separator = typeof between === 'string' ? between : (between[place - 1] ?? '')
      pieces.push(Buffer.from(separator, 'latin1'))
    }
    pieces.push(item)
  }
  return Buffer.concat(pieces)
}
