/**
 * The alphabet of byte-level BPE (GPT-2): each of the 256 bytes stands as one printable character, so that
 * every text can be written with a vocabulary of strings.
 */

/** character → byte */
const byteOf: ReadonlyMap<string, number> = makeAlphabet()

function makeAlphabet(): Map<string, number> {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
  const alphabet = new Map<string, number>()
  let moved = 0
  for (let byte = 0; byte < 256; byte++)
    alphabet.set(String.fromCharCode(printable(byte) ? byte : 256 + moved++), byte)
  return alphabet
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
