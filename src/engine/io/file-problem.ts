import { messageOf, ShadowError } from '../../lib/error.ts'

export const damagedFileHint = 'The file is damaged or not what its name says; fetch it again.'

const longestField = 160
const longestProblem = 400

/**
 * The error for a field of a file that cannot be right. What the file itself says may be part of field and
 * problem: it is cut to a length that a person reads, and control characters never reach a terminal.
 */
export function fileProblem(path: string, field: string, problem: string, hint: string): ShadowError {
  return new ShadowError('invalid_file', sentence(path, field, problem), { hint })
}

/**
 * Runs a part that is built from a file's field and knows nothing of files: what it throws, or what a package
 * that it stands on throws, names them; the code of a ShadowError stays.
 */
export function builtFrom<T>(path: string, field: string, build: () => T): T {
  try {
    return build()
  } catch (thrown) {
    const text = sentence(path, field, messageOf(thrown).replace(/\.$/, ''))
    const known = thrown instanceof ShadowError ? thrown : undefined
    throw new ShadowError(known?.code ?? 'invalid_file', text, {
      hint: known?.hint ?? damagedFileHint,
      cause: thrown,
    })
  }
}

function sentence(path: string, field: string, problem: string): string {
  return `${shown(path, 4096)}: ${shown(field, longestField)}: ${shown(problem)}.`
}

/** Text out of a file as it may stand in a message. */
export function shown(text: string, longest = longestProblem): string {
  const clean = text.slice(0, longest).replace(/(?!\n)\p{Cc}/gu, '\u{fffd}')
  return text.length > longest ? `${clean}…` : clean
}
