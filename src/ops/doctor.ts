/** `shadow doctor`: the machine as the set-up sees it, and whether the frontier answers. */
import { messageOf } from '../lib/error.ts'
import { type Finding, probeMachine } from '../setup/probes.mjs'

const upstreamTimeoutMs = 5_000

/** @param upstream base URL of the frontier; null where none is configured */
export async function doctor(upstream: string | null): Promise<Finding[]> {
  return [...(await probeMachine()), await probeUpstream(upstream)]
}

async function probeUpstream(upstream: string | null): Promise<Finding> {
  const name = 'upstream'
  if (upstream === null) {
    return {
      name,
      found: 'none configured',
      ok: true,
      hint: '`shadow serve` needs --upstream or SHADOW_UPSTREAM.',
    }
  }
  try {
    const reply = await fetch(`${upstream.replace(/\/+$/, '')}/models`, {
      signal: AbortSignal.timeout(upstreamTimeoutMs),
    })
    await reply.body?.cancel()
    // Without a key a frontier refuses, which shows that it is there.
    return { name, found: `${upstream} answers ${reply.status}`, ok: reply.status < 500 }
  } catch (error) {
    return {
      name,
      found: `${upstream}: ${messageOf(error)}`,
      ok: false,
      hint: 'Check the URL, with its /v1, and the network.',
    }
  }
}
