import { ShadowError } from '../lib/error.ts'
import { SetupFailure } from '../setup/failure.mjs'

/** An error as a person reads it: what happened, and what to do. A fault of Shadow's own shows its stack. */
export function renderError(error: unknown): string {
  if (error instanceof ShadowError) {
    return error.hint === undefined ? `${error.message}\n` : `${error.message}\n${error.hint}\n`
  }
  if (error instanceof SetupFailure) return `${error.message}\n`
  if (isSqliteError(error)) {
    return `The store could not be used: ${error.message}.\nCheck the disk's free space and who owns SHADOW_HOME.\n`
  }
  if (error instanceof Error) return `${error.stack ?? error.message}\n`
  return `${String(error)}\n`
}

function isSqliteError(error: unknown): error is Error {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    error.code.startsWith('SQLITE_')
  )
}
