/**
 * Kinds of personal data and secrets, each as a pattern and, where the pattern alone says too little, a check. Every
 * repetition is bounded and every match must begin at a boundary, so that no text costs more than a few times its length.
 */
import { isIPv4, isIPv6 } from 'node:net'
import type { RedactionKind } from '../../contract/index.ts'

export interface Matcher {
  readonly pattern: RegExp
  /** Whether a match is one. */
  isOne?(match: string): boolean
}

const apiKeys = [
  // OpenAI, Anthropic and those who took up the shape; Shadow's own.
  'sk-[A-Za-z0-9_-]{20,200}',
  'shadow_[A-Za-z0-9_-]{32}',
  // AWS, GitHub, GitLab, Slack, Google, Hugging Face, npm, SendGrid, Stripe.
  'A[KS]IA[A-Z0-9]{16}',
  'gh[pousr]_[A-Za-z0-9]{36,255}',
  'github_pat_[A-Za-z0-9_]{22,255}',
  'glpat-[A-Za-z0-9_-]{20,64}',
  'xox[abprs]-[A-Za-z0-9-]{10,200}',
  'AIza[A-Za-z0-9_-]{35}',
  'hf_[A-Za-z0-9]{30,64}',
  'npm_[A-Za-z0-9]{36}',
  'SG\\.[A-Za-z0-9_-]{16,32}\\.[A-Za-z0-9_-]{16,64}',
  '[rs]k_(?:live|test)_[A-Za-z0-9]{16,128}',
  // JSON Web Tokens.
  'eyJ[A-Za-z0-9_-]{8,2000}\\.eyJ[A-Za-z0-9_-]{8,8000}\\.[A-Za-z0-9_-]{8,2000}',
]

export const kinds: Readonly<Record<RedactionKind, readonly Matcher[]>> = {
  email: [
    {
      pattern:
        /(?<![\p{L}\p{N}._%+-])[\p{L}\p{N}._%+-]{1,64}@(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]{0,61}[\p{L}\p{N}])?\.){1,8}\p{L}{2,24}/gu,
    },
  ],
  phone: [
    // E.164 with the country's number in front, then the North American form.
    { pattern: /(?<![\w+])\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,4}\)?){2,5}(?!\w)/g, isOne: hasPhoneLength },
    { pattern: /(?<![\w.-])(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])[2-9]\d{2}[ .-]\d{4}(?![\w-])/g },
  ],
  credit_card: [{ pattern: /(?<![\w.-])[2-6](?:[ -]?\d){12,18}(?![\w-])/g, isOne: isCardNumber }],
  iban: [{ pattern: /(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)/g, isOne: isIban }],
  ip: [
    { pattern: /(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)/g, isOne: isIPv4 },
    {
      pattern: /(?<![\w:.])[0-9A-Fa-f:]{3,39}(?![\w:])/g,
      isOne: (match) => /[0-9A-Fa-f]/.test(match) && isIPv6(match),
    },
  ],
  us_ssn: [{ pattern: /(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])/g }],
  api_key: [
    { pattern: new RegExp(`(?<![A-Za-z0-9_])(?:${apiKeys.join('|')})(?![A-Za-z0-9_])`, 'g') },
    {
      pattern: /-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]{1,8000}?-----END [A-Z ]{0,30}PRIVATE KEY-----/g,
    },
  ],
}

function digitsOf(text: string): string {
  return text.replace(/\D/g, '')
}

function hasPhoneLength(match: string): boolean {
  const { length } = digitsOf(match)
  return length >= 8 && length <= 15
}

/** The check digit of ISO/IEC 7812-1 (Luhn). */
export function isCardNumber(match: string): boolean {
  const digits = digitsOf(match)
  if (digits.length < 13 || digits.length > 19) return false
  let sum = 0
  for (let place = 0; place < digits.length; place++) {
    const digit = Number(digits[digits.length - 1 - place])
    const doubled = place % 2 === 1 ? digit * 2 : digit
    sum += doubled > 9 ? doubled - 9 : doubled
  }
  return sum % 10 === 0
}

/** The check digits of ISO 13616 (mod 97). */
function isIban(match: string): boolean {
  const iban = match.replaceAll(' ', '')
  if (iban.length < 15 || iban.length > 34) return false
  let rest = 0
  for (const character of iban.slice(4) + iban.slice(0, 4)) {
    const value = Number.parseInt(character, 36)
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97
  }
  return rest === 1
}
