/**
 * The pre-tokenizers of byte-level BPE, under the names that GGUF files give them, as the configuration of
 * @huggingface/tokenizers. How to add one: an entry with the patterns of llama.cpp's table of the same
 * name, and its token ids in a fixture.
 */

interface Step {
  readonly type: string
  readonly [setting: string]: unknown
}

// \p{White_Space} is what \s means to the reference implementations; JavaScript's own \s differs at
// U+0085 and U+FEFF.
const gpt2Words = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+`

const splitAt = (pattern: string): Step => ({
  type: 'Split',
  pattern: { Regex: pattern },
  behavior: 'Isolated',
  invert: false,
})

const toBytes: Step = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false }

/** Name in `tokenizer.ggml.pre` → steps. */
export const preTokenizers: ReadonlyMap<string, readonly Step[]> = new Map([
  ['gpt-2', [splitAt(gpt2Words), toBytes]],
  // Digits one by one first: the blanks before a digit are then a run of their own.
  ['smollm', [splitAt(String.raw`\p{N}`), splitAt(gpt2Words), toBytes]],
])
