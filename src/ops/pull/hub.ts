/** A model on a Hugging Face hub: its files at one commit. */
import { fileDownloadInfo, HubApiError, listFiles, modelInfo } from '@huggingface/hub'
import { z } from 'zod'
import { messageOf, ShadowError } from '../../lib/error.ts'

export interface HubFile {
  readonly name: string
  readonly bytes: number
  readonly checksum: Checksum | null
}

/** Of the content (large files), or git's of a blob (small ones). */
export type Checksum = { readonly kind: 'sha256' | 'git-blob'; readonly hex: string }

export interface HubModel {
  /** The commit that all files are of, or the branch where the hub names none. */
  readonly revision: string
  readonly files: readonly HubFile[]
  /**
   * A file's bytes from `start` on.
   * @returns null where the hub sends nothing, or the whole file in spite of a start
   */
  read(name: string, start: number): Promise<ReadableStream<Uint8Array> | null>
}

const defaultHub = 'https://huggingface.co'
/** A listing that goes on beyond this is none. */
const mostFiles = 10_000

/** A name that stays within its folder, on any system. */
const plainName = /^[A-Za-z0-9_][\w.+-]{0,200}$/
const hex = (length: number): RegExp => new RegExp(`^[0-9a-f]{${length}}$`)

const listed = z.object({
  type: z.string(),
  path: z.string(),
  size: z.int().min(0),
  oid: z.string().regex(hex(40)).optional().catch(undefined),
  lfs: z
    .object({ oid: z.string().regex(hex(64)), size: z.int().min(0) })
    .optional()
    .catch(undefined),
})

/** What the process is told of the hub: `HF_ENDPOINT`, `HF_TOKEN`. @throws ShadowError `invalid_config` */
function hubOf(env: NodeJS.ProcessEnv): { url: string; accessToken?: string } {
  const url = (env['HF_ENDPOINT'] || defaultHub).replace(/\/+$/, '')
  if (!/^https?:\/\/[^/]/.test(url))
    throw new ShadowError('invalid_config', `HF_ENDPOINT is ${url}, which is no http(s) URL.`)
  const token = env['HF_TOKEN']
  if (!token) return { url }
  if (!token.startsWith('hf_'))
    throw new ShadowError('invalid_config', 'HF_TOKEN does not begin with hf_, as tokens of the hub do.')
  return { url, accessToken: token }
}

/**
 * Looks a model up. Only files at the top of its folder, with plain names, are listed.
 * @throws ShadowError `not_found`, `missing_key` for gated and private models, `upstream_unreachable`, `upstream_error`
 */
export async function openHubModel(
  id: string,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<HubModel> {
  const { url: hubUrl, ...credentials } = hubOf(env)
  const common = { hubUrl, ...credentials, fetch: withSignal(signal) }
  const translated = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work
    } catch (thrown) {
      signal.throwIfAborted()
      throw hubError(thrown, id, hubUrl, 'accessToken' in credentials)
    }
  }
  const { sha } = await translated(modelInfo({ ...common, name: id, additionalFields: ['sha'] }))
  const revision = typeof sha === 'string' && hex(40).test(sha) ? sha : 'main'
  const files = await translated(list({ ...common, repo: id, revision }))
  return {
    revision,
    files,
    read: (name, start) =>
      translated(
        (async () => {
          const info = await fileDownloadInfo({ ...common, repo: id, path: name, revision })
          if (info === null) throw new ShadowError('not_found', `${id} has no file ${name} any more.`)
          const headers = new Headers(start > 0 ? { range: `bytes=${start}-` } : {})
          const isHubs = new URL(info.url).origin === new URL(hubUrl).origin
          if (credentials.accessToken !== undefined && isHubs)
            headers.set('authorization', `Bearer ${credentials.accessToken}`)
          const response = await common.fetch(info.url, { headers })
          if (!response.ok) throw new HubApiError(info.url, response.status)
          const first = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1]
          if (response.body === null || (start > 0 && (response.status !== 206 || Number(first) !== start))) {
            await response.body?.cancel()
            return null
          }
          return response.body
        })(),
      ),
  }
}

function withSignal(signal: AbortSignal): typeof fetch {
  return (input, init) => fetch(input, { ...init, signal })
}

async function list(params: Parameters<typeof listFiles>[0]): Promise<HubFile[]> {
  const files: HubFile[] = []
  let seen = 0
  for await (const entry of listFiles(params)) {
    if (++seen > mostFiles)
      throw new ShadowError('upstream_error', `The hub lists more than ${mostFiles} files for this model.`)
    const file = listed.safeParse(entry).data
    if (file === undefined || file.type !== 'file' || !plainName.test(file.path)) continue
    const { path: name, lfs, oid, size } = file
    const checksum: Checksum | null =
      lfs !== undefined
        ? { kind: 'sha256', hex: lfs.oid }
        : oid !== undefined
          ? { kind: 'git-blob', hex: oid }
          : null
    files.push({ name, bytes: lfs?.size ?? size, checksum })
  }
  return files
}

function hubError(thrown: unknown, id: string, hubUrl: string, hasToken: boolean): ShadowError {
  if (thrown instanceof ShadowError) return thrown
  const page = `${hubUrl}/${id}`
  if (thrown instanceof HubApiError) {
    const status = thrown.statusCode
    if (status === 404)
      return new ShadowError('not_found', `There is no model ${id} at ${hubUrl}.`, {
        hint: 'Check its name: owner/name.',
      })
    if (status === 401 || status === 403)
      return new ShadowError(
        'missing_key',
        `${id} is gated, private, or not at ${hubUrl} (HTTP ${status}).`,
        {
          hint: hasToken
            ? `Open ${page} with the account that HF_TOKEN belongs to and accept the model's terms.`
            : `Accept the model's terms at ${page}, make a token at ${hubUrl}/settings/tokens and set HF_TOKEN to it.`,
        },
      )
    return new ShadowError('upstream_error', `The hub ${hubUrl} answers HTTP ${status} for ${id}.`, {
      hint: 'Try again later.',
      cause: thrown,
    })
  }
  const cause = thrown instanceof Error && thrown.cause !== undefined ? thrown.cause : thrown
  return new ShadowError(
    'upstream_unreachable',
    `The hub ${hubUrl} cannot be reached: ${messageOf(cause)}.`,
    {
      hint: 'Check the network, or set HF_ENDPOINT to a hub that is reachable.',
      cause: thrown,
    },
  )
}
