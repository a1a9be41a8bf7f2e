/** Portkey's open-source gateway, the peer that the proxy is measured beside; it stores nothing. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cacheDir } from '../../src/setup/paths.mjs'

export const portkeyVersion = '1.15.2'
/** With the version that the package asks for every stream is answered with status 500. */
const overrides = { '@hono/node-server': '1.13.8' }

/** Installs it beside the cached models on first use, and starts it. */
export async function startPortkey(): Promise<{ child: ChildProcess; origin: string }> {
  const folder = join(cacheDir(), 'bench', `portkey-${portkeyVersion}`)
  const program = join(folder, 'node_modules', '@portkey-ai', 'gateway', 'build', 'start-server.js')
  if (!existsSync(program)) {
    mkdirSync(folder, { recursive: true })
    const manifest = { private: true, dependencies: { '@portkey-ai/gateway': portkeyVersion }, overrides }
    writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
    execFileSync('npm', ['install', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund'], {
      cwd: folder,
    })
  }
  const port = await freePort()
  const child = spawn(process.execPath, [program, `--port=${port}`, '--headless'], {
    stdio: 'ignore',
  })
  const origin = `http://127.0.0.1:${port}`
  for (let attempt = 0; attempt < 100; attempt++) {
    const isUp = await fetch(origin).then(
      ({ ok }) => ok,
      () => false,
    )
    if (isUp) return { child, origin }
    await sleep(100)
  }
  throw new Error('Portkey did not start within ten seconds.')
}

/** What it needs to be told on each request to relay to a server of one's own. */
export function portkeyHeaders(upstream: string): Record<string, string> {
  return { 'x-portkey-provider': 'openai', 'x-portkey-custom-host': `${upstream}/v1` }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      server.close(() => resolve(port))
    })
  })
}
