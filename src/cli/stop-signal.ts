/** Ctrl-C and friends, as one request to stop. */

/** A terminal, npm and a service manager may each send the same signal on; what follows this soon is the same one. */
const echoMs = 1_000

/**
 * Aborts at the first SIGINT or SIGTERM. A second one, meant as such, ends the process the hard way.
 */
export function stopSignal(): AbortSignal {
  const stop = new AbortController()
  let firstAt: number | null = null
  const onSignal = (): void => {
    if (firstAt === null) {
      firstAt = performance.now()
      stop.abort()
    } else if (performance.now() - firstAt > echoMs) process.exit(130)
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  return stop.signal
}
