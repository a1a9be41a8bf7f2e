/** Looks for texts in bytes that come in pieces, without decoding them. */
export class TextWatch {
  private readonly texts: readonly Buffer[]
  private readonly overlap: number
  private tail: Buffer = Buffer.alloc(0)

  /** @param texts in ASCII */
  constructor(texts: readonly string[]) {
    this.texts = texts.map((text) => Buffer.from(text, 'latin1'))
    this.overlap = Math.max(0, ...this.texts.map(({ length }) => length - 1))
  }

  /** Whether one of the texts ends in this piece. */
  sees(piece: Uint8Array): boolean {
    const bytes = Buffer.concat([this.tail, piece])
    this.tail = bytes.subarray(Math.max(0, bytes.length - this.overlap))
    return this.texts.some((text) => bytes.includes(text))
  }
}
