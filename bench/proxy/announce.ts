/** How a server of the benchmark tells its parent where it listens. */
import type { Server } from 'node:http'

export function announce(server: Server): void {
  server.listen(0, '127.0.0.1', () => {
    const address = server.address()
    if (typeof address === 'object' && address !== null) process.send?.(address.port)
  })
}
