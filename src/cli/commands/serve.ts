import { once } from 'node:events'
import { Command, Option } from 'commander'
import pino from 'pino'
import { ShadowError } from '../../lib/error.ts'
import { keepHeapSteady } from '../../lib/steady-heap.ts'
import { createApi } from '../../http/api.ts'
import { serve } from '../../ops/serve.ts'
import { upstreamSettings } from '../../ops/upstream-settings.ts'
import { openWorkspace } from '../../ops/workspace.ts'
import { stopSignal } from '../stop-signal.ts'
import { addThreadsOption } from '../threads-option.ts'

interface ServeFlags {
  upstream: string[]
  port: number
  host: string
  insecure?: true
  capture: 'available' | 'strict'
  synchronous?: 'normal' | 'full'
  maxBody: number
  connectTimeout?: number
  firstByteTimeout?: number
  idleTimeout?: number
  logLevel: string
}

export function serveCommand(): Command {
  return addThreadsOption(new Command('serve'))
    .description('run the proxy: point your agent at it with OPENAI_BASE_URL=http://127.0.0.1:8327/v1')
    .option(
      '--upstream <url>',
      'base URL of the frontier, with its /v1 (or SHADOW_UPSTREAM); NAME=URL adds another (or SHADOW_UPSTREAM_NAME)',
      (url: string, before: string[]) => [...before, url],
      [],
    )
    .option('--port <port>', 'port to listen on', parsePort, 8327)
    .option('--host <address>', 'address to listen on; any but the loopback asks for a key', '127.0.0.1')
    .option('--insecure', 'with --host: let everyone in who can reach it, without a key')
    .addOption(
      new Option('--capture <mode>', 'a call that can’t be recorded is served and counted, or refused')
        .choices(['available', 'strict'])
        .default('available'),
    )
    .addOption(
      new Option(
        '--synchronous <mode>',
        'records survive the death of the process, or also the loss of power (default: as `shadow store` says)',
      ).choices(['normal', 'full']),
    )
    .option('--max-body <MiB>', 'longest body of a captured call', parseMebibytes, 128)
    .option(
      '--connect-timeout <s>',
      'until an upstream is connected; 0 waits for ever (default: 10)',
      parseMs,
    )
    .option('--first-byte-timeout <s>', 'from a request to the head of its reply (default: 600)', parseMs)
    .option(
      '--idle-timeout <s>',
      'between two chunks of a reply; one that comes is never cut (default: 600)',
      parseMs,
    )
    .addOption(
      new Option('--log-level <level>', 'how much to say on stderr')
        .choices(['error', 'warn', 'info', 'debug'])
        .default('info'),
    )
    .action(async (options: ServeFlags) => {
      keepHeapSteady()
      const signal = stopSignal()
      const log = pino({ level: options.logLevel, base: null }, pino.destination(2))
      const upstreams = upstreamSettings(options.upstream, process.env)
      await using workspace = await openWorkspace()
      const server = await serve(workspace, {
        host: options.host,
        isInsecure: options.insecure === true,
        port: options.port,
        upstream: upstreams.frontier,
        upstreams: upstreams.named,
        capturing: options.capture,
        ...(options.synchronous === undefined ? {} : { synchronous: options.synchronous }),
        maxBodyBytes: options.maxBody * 2 ** 20,
        timeouts: {
          ...(options.connectTimeout === undefined ? {} : { connectMs: options.connectTimeout }),
          ...(options.firstByteTimeout === undefined ? {} : { firstByteMs: options.firstByteTimeout }),
          ...(options.idleTimeout === undefined ? {} : { idleMs: options.idleTimeout }),
        },
        log,
        api: createApi,
      })
      process.stdout.write(`shadow listens on ${server.url}/v1 (stop with Ctrl-C)\n`)
      if (!signal.aborted) await once(signal, 'abort')
      await server.close()
    })
}

function parsePort(text: string): number {
  const port = Number(text)
  if (Number.isInteger(port) && port >= 0 && port <= 65535) return port
  throw new ShadowError('invalid_config', `"${text}" is no port.`, { hint: 'Use a number from 0 to 65535.' })
}

function parseMebibytes(text: string): number {
  const size = Number(text)
  if (Number.isFinite(size) && size > 0) return size
  throw new ShadowError('invalid_config', `"${text}" is no size.`, { hint: 'Use a number of MiB, like 128.' })
}

/** Seconds as the user writes them, in milliseconds; no timer takes more than 2³¹ − 1 of those. */
function parseMs(text: string): number {
  const ms = Math.round(Number(text) * 1000)
  if (text.trim() !== '' && ms >= 0 && ms < 2 ** 31) return ms
  throw new ShadowError('invalid_config', `"${text}" is no time.`, { hint: 'Use seconds, like 30 or 0.5.' })
}
