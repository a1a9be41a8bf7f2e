/** A set-up step that failed for a reason the user can act on: one sentence, printed without a stack. */
export class SetupFailure extends Error {
  /** @param {string} sentence what is wrong and what to do */
  constructor(sentence) {
    super(sentence)
    this.name = 'SetupFailure'
  }
}

/**
 * The `code` of a Node system error (`ENOENT`, `EEXIST`, …).
 * @param {unknown} thrown
 * @returns {string | undefined}
 */
export function systemCode(thrown) {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string'
    ? thrown.code
    : undefined
}
