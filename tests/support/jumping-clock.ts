/** Loaded before a process whose clock a test sets back: an hour earlier from each SIGUSR2 on. */
const { now } = Date
let setBackMs = 0
Date.now = () => now() - setBackMs
process.on('SIGUSR2', () => {
  setBackMs += 3_600_000
})
