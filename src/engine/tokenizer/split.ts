/** Cutting text at a pattern, with what becomes of the matches as Hugging Face's tokenizers define it. */
import { type AlignedText, sliceAligned } from './aligned-text.ts'

export const splitBehaviors = [
  'Removed',
  'Isolated',
  'MergedWithPrevious',
  'MergedWithNext',
  'Contiguous',
] as const

export type SplitBehavior = (typeof splitBehaviors)[number]

interface Piece {
  start: number
  end: number
  readonly isMatch: boolean
}

/**
 * @param pattern with the flag g
 * @param invert what lies between the matches counts as the match
 */
export function splitAligned(
  source: AlignedText,
  pattern: RegExp,
  behavior: SplitBehavior,
  invert = false,
): AlignedText[] {
  const pieces: Piece[] = []
  let at = 0
  for (const match of source.text.matchAll(pattern)) {
    const end = match.index + match[0].length
    if (match.index > at) pieces.push({ start: at, end: match.index, isMatch: invert })
    pieces.push({ start: match.index, end, isMatch: !invert })
    at = end
  }
  if (at < source.text.length) pieces.push({ start: at, end: source.text.length, isMatch: invert })
  return behave(pieces, behavior)
    .filter(({ start, end }) => end > start)
    .map(({ start, end }) => sliceAligned(source, start, end))
}

function behave(pieces: Piece[], behavior: SplitBehavior): Piece[] {
  switch (behavior) {
    case 'Isolated':
      return pieces
    case 'Removed':
      return pieces.filter((piece) => !piece.isMatch)
    case 'Contiguous':
      return joined(pieces, (piece, last) => piece.isMatch === last.isMatch)
    case 'MergedWithPrevious':
      return joined(pieces, (piece, last) => piece.isMatch && !last.isMatch)
    case 'MergedWithNext': {
      const backwards = joined(pieces.toReversed(), (piece, last) => piece.isMatch && !last.isMatch)
      return backwards.toReversed()
    }
  }
}

/** Joins neighbours; `goes` sees a piece and the one before it, as they were cut. */
function joined(pieces: readonly Piece[], goes: (piece: Piece, last: Piece) => boolean): Piece[] {
  const out: Piece[] = []
  let last: Piece | undefined
  for (const piece of pieces) {
    const group = out.at(-1)
    if (group !== undefined && last !== undefined && goes(piece, last)) {
      group.start = Math.min(group.start, piece.start)
      group.end = Math.max(group.end, piece.end)
    } else out.push({ ...piece })
    last = piece
  }
  return out
}
