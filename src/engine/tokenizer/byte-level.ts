/**
 * The alphabet of byte-level BPE (GPT-2): each of the 256 bytes stands as one printable character, so that
 * every text can be written with a vocabulary of strings.
 */
import type { AlignedText } from './aligned-text.ts'

/** byte → character */
const characterOf: readonly string[] = makeAlphabet()

/** character → byte */
const byteOf: ReadonlyMap<string, number> = new Map(characterOf.map((character, byte) => [character, byte]))

function makeAlphabet(): string[] {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
  let moved = 0
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : 256 + moved++))
}

/**
 * The bytes that a token of the vocabulary stands for; undefined if it contains a character outside the
 * alphabet.
 */
export function bytesOfToken(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length)
  for (let i = 0; i < token.length; i++) {
    const byte = byteOf.get(token.charAt(i))
    if (byte === undefined) return undefined
    bytes[i] = byte
  }
  return bytes
}

/** A text's UTF-8 bytes in the alphabet; each byte stands for the whole character that it is part of. */
export function toByteLevel(source: AlignedText): AlignedText {
  const bytes = new TextEncoder().encode(source.text)
  const starts = new Int32Array(bytes.length)
  const ends = new Int32Array(bytes.length)
  let text = ''
  let unit = 0
  let byte = 0
  while (byte < bytes.length) {
    const width = widthOf(bytes[byte] ?? 0)
    const units = width === 4 ? 2 : 1
    starts.fill(source.starts[unit] ?? 0, byte, byte + width)
    ends.fill(source.ends[unit + units - 1] ?? 0, byte, byte + width)
    for (let i = byte; i < byte + width; i++) text += characterOf[bytes[i] ?? 0] ?? ''
    unit += units
    byte += width
  }
  return { text, starts, ends }
}

/** Bytes of the UTF-8 character that a byte begins. */
function widthOf(lead: number): number {
  if (lead < 0x80) return 1
  if (lead < 0xe0) return 2
  return lead < 0xf0 ? 3 : 4
}
