/** A call as it may be written: what a task's rules take out is gone before anything is hashed. */
import type { RedactedCounts } from '../src/contract/index.ts'
import type { Dialect, SplitRequest } from '../src/dialects/index.ts'
import type { Redactor } from '../src/store/redaction/redactor.ts'

/** What is looked through of a request. */
interface ReadRequest {
  readonly dialect: Dialect
  readonly body: Uint8Array
  readonly split: SplitRequest
}

export class Redaction {
  private readonly redactor: Redactor | null
  private readonly counts: RedactedCounts = {}

  /** @param redactor null where nothing is to be taken out, which then costs nothing */
  constructor(redactor: Redactor | null) {
    this.redactor = redactor
  }

  /** What was taken out until now; null where nothing was. */
  get found(): RedactedCounts | null {
    return Object.keys(this.counts).length === 0 ? null : this.counts
  }

  text<Text extends string | null>(text: Text): Text | string {
    return this.redactor === null || text === null ? text : this.redactor.text(text, this.counts)
  }

  /** @throws ShadowError when what is left is no request; it is then not written at all */
  request<Request extends ReadRequest>(request: Request): Request {
    if (this.redactor === null) return request
    const body = this.redactor.json(request.body, this.counts)
    return body === request.body ? request : { ...request, body, split: request.dialect.splitRequest(body) }
  }

  /** A reply's. */
  body<Body extends Uint8Array | null>(body: Body): Body | Uint8Array {
    return this.redactor === null || body === null ? body : this.redactor.json(body, this.counts)
  }
}
