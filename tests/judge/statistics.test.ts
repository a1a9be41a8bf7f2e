import { describe, expect, it } from 'vitest'
import { type Bounds, clusterBounds, sumBySession } from '../../judge/statistics.ts'

const unit = [0, 1] as const
const signed = [-1, 1] as const

/** Bounds of values in sessions of one call each. */
function boundsOf(values: readonly number[], range: readonly [number, number], confidence: number): Bounds {
  const sizes = values.map(() => 1)
  return clusterBounds(sizes, [{ sums: values, range }], confidence)[0] ?? expect.unreachable()
}

const repeat = (value: number, times: number): number[] => Array.from({ length: times }, () => value)

describe('bounds of 0/1 values in sessions of one call', () => {
  // Clopper and Pearson's one-sided bounds, from tables: quantiles of Beta(k, n − k + 1) and Beta(k + 1, n − k).
  it.each([
    [10, 10, 0.95, 0.7411, 1],
    [0, 10, 0.95, 0, 0.2589],
    [8, 10, 0.95, 0.4931, 0.9632],
    [97, 100, 0.95, 0.9246, 0.9918],
    [50, 50, 0.975, 0.9289, 1],
  ])('%d of %d at %d are the exact ones', (right, all, confidence, low, high) => {
    const bounds = boundsOf([...repeat(1, right), ...repeat(0, all - right)], unit, confidence)
    expect(bounds.mean).toBeCloseTo(right / all, 12)
    // A quantile of 10,000 draws, where the density of the Beta is about 0.4 and more, is within 0.015.
    expect(Math.abs(bounds.low - low)).toBeLessThan(0.015)
    expect(Math.abs(bounds.high - high)).toBeLessThan(0.015)
  })
})

describe('bounds', () => {
  it('are never certain, however equal the values', () => {
    const ties = boundsOf(repeat(0, 50), signed, 0.95)
    // The rule of three, exactly: 1 − 0.05^(1/50).
    expect(ties.low).toBeCloseTo(-0.0582, 2)
    expect(ties.high).toBeCloseTo(0.0582, 2)
  })

  it('are the same every time', () => {
    const values = [0.1, 0.5, 0.9, 0.3]
    expect(boundsOf(values, unit, 0.9)).toEqual(boundsOf(values, unit, 0.9))
  })

  it('know nothing where nothing was seen', () => {
    expect(clusterBounds([], [{ sums: [], range: signed }], 0.95)).toEqual([{ mean: 0, low: -1, high: 1 }])
  })

  it('are wider when calls of a session agree than when they are independent', () => {
    const values = Array.from({ length: 90 }, (_, index) => (index % 30 < 24 ? 1 : 0))
    const alone = boundsOf(values, unit, 0.95)
    const sessions = values.map((_, index) => `s${index % 30}`)
    const { sizes, sums } = sumBySession(sessions, [values])
    const clustered = clusterBounds(sizes, [{ sums: sums[0] ?? [], range: unit }], 0.95)[0]
    expect(sizes).toHaveLength(30)
    expect(clustered?.mean).toBeCloseTo(alone.mean, 12)
    expect(clustered?.low).toBeLessThan(alone.low - 0.03)
  })
})

/** Sessions of one to three calls; `draw` gives what a session's calls have in common and what one call adds. */
function simulate(sessions: number, draw: (random: () => number) => () => number, random: () => number) {
  const sizes: number[] = []
  const sums: number[] = []
  for (let index = 0; index < sessions; index += 1) {
    const size = 1 + Math.floor(random() * 3)
    const call = draw(random)
    sizes.push(size)
    sums.push(Array.from({ length: size }, call).reduce((sum, value) => sum + value, 0))
  }
  return { sizes, sums }
}

/** The cluster-robust lower bound on the t distribution with G − 1 degrees, the usual alternative. */
function studentLow(sizes: readonly number[], sums: readonly number[], quantile: number): number {
  const calls = sizes.reduce((sum, size) => sum + size, 0)
  const mean = sums.reduce((sum, value) => sum + value, 0) / calls
  const squares = sums.reduce((sum, value, index) => sum + (value - mean * (sizes[index] ?? 0)) ** 2, 0)
  const { length } = sizes
  return mean - (quantile * Math.sqrt((length / (length - 1)) * squares)) / calls
}

/** Park and Miller's generator, so that the simulation is the same everywhere. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 48271) % 2147483647
    return state / 2147483647
  }
}

describe('coverage of the 95 % lower bound, simulated', () => {
  // Each case: sessions, quantile of t with one degree less, true mean, range of a value, one session's calls.
  const right = (share: number) => (random: () => number) => () => (random() < share ? 1 : 0)
  const together = (share: number) => (random: () => number) => {
    const value = random() < share ? 1 : 0
    return () => (random() < 0.8 ? value : random() < share ? 1 : 0)
  }
  const paired = (loss: number, win: number) => (random: () => number) => {
    const whole = random()
    return () => {
      const at = random() < 0.5 ? whole : random()
      return at < loss ? -1 : at < loss + win ? 1 : 0
    }
  }
  it.each([
    ['90 % right', 40, 1.685, 0.9, unit, right(0.9)],
    ['97 % right', 50, 1.677, 0.97, unit, right(0.97)],
    ['85 % right, sessions agree', 30, 1.699, 0.85, unit, together(0.85)],
    ['a rare loss', 60, 1.671, -0.03, signed, paired(0.03, 0)],
    ['wins and losses', 60, 1.671, 0.05, signed, paired(0.05, 0.1)],
  ] as const)('%s', (name, sessions, quantile, mean, range, draw) => {
    const random = seeded(20_260)
    const trials = 400
    let held = 0
    let student = 0
    for (let trial = 0; trial < trials; trial += 1) {
      const { sizes, sums } = simulate(sessions, draw, random)
      const low = clusterBounds(sizes, [{ sums, range }], 0.95, 600)[0]?.low ?? 1
      if (low <= mean) held += 1
      if (studentLow(sizes, sums, quantile) <= mean) student += 1
    }
    if (process.env['PRINT_COVERAGE'] === '1') {
      process.stdout.write(`${name}: ${held / trials}, t ${student / trials}\n`)
    }
    // Three standard errors of a coverage of 0.95 over 400 trials are 0.033.
    expect(held / trials).toBeGreaterThanOrEqual(0.917)
    expect(held / trials).toBeGreaterThanOrEqual(student / trials - 0.01)
  })
})
