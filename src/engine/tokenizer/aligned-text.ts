/**
 * Text that knows where it came from. Normalisers and pre-tokenizers rewrite and cut text; the tokens' places
 * in the original are found again through these ranges, as in Hugging Face's `NormalizedString`.
 */
export interface AlignedText {
  readonly text: string
  /** For each UTF-16 unit of `text` the first unit of the original that it stands for. */
  readonly starts: Int32Array
  /** … and the unit behind the last one. */
  readonly ends: Int32Array
}

/** A stretch of the original, as it is. A surrogate pair is one range. */
export function alignedText(original: string, start = 0, end = original.length): AlignedText {
  const text = original.slice(start, end)
  const starts = new Int32Array(text.length)
  const ends = new Int32Array(text.length)
  for (let i = 0; i < text.length; i++) {
    const width = (text.codePointAt(i) ?? 0) > 0xffff ? 2 : 1
    starts.fill(start + i, i, i + width)
    ends.fill(start + i + width, i, i + width)
    i += width - 1
  }
  return { text, starts, ends }
}

export function sliceAligned(source: AlignedText, start: number, end: number): AlignedText {
  if (start === 0 && end === source.text.length) return source
  return {
    text: source.text.slice(start, end),
    starts: source.starts.subarray(start, end),
    ends: source.ends.subarray(start, end),
  }
}

/**
 * Replaces every match. What is put in stands for the whole match; what is put in for nothing stands for the
 * unit behind it.
 * @param pattern with the flag g
 */
export function replaceAligned(
  source: AlignedText,
  pattern: RegExp,
  replacement: (match: string) => string,
): AlignedText {
  const pieces: { text: string; from: number; to: number; kept: boolean }[] = []
  let changed = false
  let at = 0
  for (const match of source.text.matchAll(pattern)) {
    const to = match.index + match[0].length
    const text = replacement(match[0])
    if (text === match[0]) continue
    changed = true
    if (match.index > at) pieces.push({ text: '', from: at, to: match.index, kept: true })
    pieces.push({ text, from: match.index, to, kept: false })
    at = to
  }
  if (!changed) return source
  pieces.push({ text: '', from: at, to: source.text.length, kept: true })
  const text = pieces
    .map((piece) => (piece.kept ? source.text.slice(piece.from, piece.to) : piece.text))
    .join('')
  const starts = new Int32Array(text.length)
  const ends = new Int32Array(text.length)
  let out = 0
  for (const { text: put, from, to, kept } of pieces) {
    if (kept) {
      starts.set(source.starts.subarray(from, to), out)
      ends.set(source.ends.subarray(from, to), out)
      out += to - from
      continue
    }
    const first = source.starts[from] ?? source.ends.at(-1) ?? 0
    const last = to > from ? (source.ends[to - 1] ?? first) : (source.ends[from] ?? first)
    starts.fill(first, out, out + put.length)
    ends.fill(last, out, out + put.length)
    out += put.length
  }
  return { text, starts, ends }
}

/** Puts text in front; it stands for the first unit of what follows. */
export function prependAligned(source: AlignedText, prefix: string): AlignedText {
  const starts = new Int32Array(source.text.length + prefix.length)
  const ends = new Int32Array(starts.length)
  starts.set(source.starts, prefix.length)
  ends.set(source.ends, prefix.length)
  starts.fill(source.starts[0] ?? 0, 0, prefix.length)
  ends.fill(source.ends[0] ?? 0, 0, prefix.length)
  return { text: prefix + source.text, starts, ends }
}
