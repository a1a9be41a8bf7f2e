import { describe, expect, test } from 'vitest'
import { differences, readConversations, tokenizersOf } from './conversations.ts'

const conversations = readConversations()

describe('200 conversations as transformers has them', () => {
  test('ids, masks and refusals are the same', () => {
    expect(conversations.conversations).toHaveLength(200)
    expect(differences(conversations)).toEqual([])
  })

  test('texts come back as from its decoders', () => {
    const tokenizers = tokenizersOf(conversations)
    for (const { tokenizer, of, text } of conversations.decoded) {
      const ours = tokenizers.get(tokenizer)
      expect(
        ours?.decode(ours.encode(of), { skipSpecialTokens: true }),
        `${tokenizer} ${JSON.stringify(of)}`,
      ).toBe(text)
    }
  })
})
