/** Loaded before a process whose clock a test sets back: by CLOCK_BACK_MS, and an hour more from each SIGUSR2 on. */
const { now } = Date
let setBackMs = Number(process.env['CLOCK_BACK_MS'] ?? 0)
Date.now = () => now() - setBackMs
process.on('SIGUSR2', () => {
  setBackMs += 3_600_000
})
