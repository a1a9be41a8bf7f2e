/**
 * The one error type. It is made at the boundary where something is understood (a file is parsed, a
 * socket is opened, a flag is read) and rendered once by each surface: the CLI prints `message` and
 * `hint`, HTTP replies in OpenAI's error shape with `httpStatus`.
 */

/** Every way Shadow itself can fail. An upstream's own errors are passed on, never turned into one of these. */
export type ErrorCode =
  | 'invalid_request'
  | 'invalid_config'
  | 'invalid_file'
  | 'not_found'
  | 'unknown_task'
  | 'no_calls'
  | 'conflict'
  | 'forbidden'
  | 'too_large'
  | 'busy'
  | 'port_in_use'
  | 'missing_prerequisite'
  | 'missing_key'
  | 'missing_base'
  | 'upstream_unreachable'
  | 'upstream_timeout'
  | 'upstream_error'
  | 'not_captured'
  | 'store_failed'
  | 'engine_failed'
  | 'out_of_memory'
  | 'training_diverged'
  | 'judge_failed'
  | 'internal'

const httpStatusOf: Record<ErrorCode, number> = {
  invalid_request: 400,
  invalid_config: 400,
  invalid_file: 400,
  not_found: 404,
  unknown_task: 404,
  no_calls: 409,
  conflict: 409,
  forbidden: 403,
  too_large: 413,
  busy: 503,
  port_in_use: 500,
  missing_prerequisite: 500,
  missing_key: 401,
  missing_base: 400,
  upstream_unreachable: 502,
  upstream_timeout: 504,
  upstream_error: 502,
  not_captured: 503,
  store_failed: 503,
  engine_failed: 500,
  out_of_memory: 500,
  training_diverged: 500,
  judge_failed: 502,
  internal: 500,
}

export class ShadowError extends Error {
  override readonly name = 'ShadowError'
  readonly code: ErrorCode
  /** One sentence that says what to do; shown beside the message. */
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.hint = options.hint
  }

  get httpStatus(): number {
    return httpStatusOf[this.code]
  }

  /** The body OpenAI's clients know how to read. */
  toOpenAI(): { error: { message: string; type: string; param: null; code: string } } {
    const type = this.httpStatus < 500 ? 'invalid_request_error' : 'server_error'
    const message = this.hint === undefined ? this.message : `${this.message} ${this.hint}`
    return { error: { message, type, param: null, code: this.code } }
  }
}

/** The message of anything that was thrown, for a line of text. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}
