/** The serving child's entry: loads what its parent names, answers on a Unix socket, ends with its parent. */
import { chmodSync } from 'node:fs'
import { setPriority } from 'node:os'
import { createAdaptorServer } from '@hono/node-server'
import { messageOf, ShadowError } from '../lib/error.ts'
import { type ServeEvent, serveCommand } from './protocol.ts'
import { createServeApp } from './serve-app.ts'
import { ServedModels } from './served-models.ts'

/** Below the proxy, above training: an agent waits for this one. */
const niceness = 5

let models: ServedModels | null = null

process.on('disconnect', () => process.exit(0))
process.on('SIGTERM', () => process.exit(0))
// Ctrl-C is the parent's to handle: it closes this process when its own replies are out.
process.on('SIGINT', () => {})

process.on('message', (raw) => {
  const command = serveCommand.parse(raw)
  const id = command.type === 'load' ? command.id : null
  try {
    if (command.type === 'load') {
      models?.load(command.model)
      tell({ type: 'loaded', id: command.id })
      return
    }
    setPriority(niceness)
    models = ServedModels.open(command.modelPath, command.models)
    listen(models, command.socketPath)
  } catch (error) {
    const code = error instanceof ShadowError ? error.code : 'engine_failed'
    tell({ type: 'failed', id, code, message: messageOf(error) })
  }
})

function listen(served: ServedModels, socketPath: string): void {
  const server = createAdaptorServer({ fetch: createServeApp(served).fetch })
  server.listen(socketPath, () => {
    chmodSync(socketPath, 0o600)
    tell({ type: 'ready' })
  })
}

function tell(event: ServeEvent): void {
  process.send?.(event)
}
