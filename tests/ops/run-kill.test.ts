import { describe, expect, it } from 'vitest'
import { stageName } from '../../src/contract/run.ts'
import { testHome } from '../support/home.ts'
import { copyHome, type KillPoint, killInside, type Outcome, runToEnd } from '../support/kill-run.ts'
import { playSessions, startTraffic, taskName, tinySettings } from '../support/task-traffic.ts'
import { writeTinyModel } from '../support/tiny-model.ts'

/** Short stages can end before the signal comes; such a copy is thrown away. */
const attempts = 10

describe('a run that is killed', () => {
  it('goes on where it was, whatever the stage, to the same adapter', { timeout: 300_000 }, async () => {
    await using home = await testHome()
    await using stack = new AsyncDisposableStack()
    const { client, server } = await startTraffic(home, stack)
    await playSessions(client(), 28)
    await home.shadow(['tasks', 'set', taskName, ...tinySettings(writeTinyModel(home.path))])
    await server.stop()

    await using undisturbed = await copyHome(home.path)
    const expected = await runToEnd(undisturbed, taskName)
    expect(expected).toEqual({
      adapterHash: expect.stringMatching(/^[0-9a-f]{64}$/),
      ranTwice: [],
      takeovers: 1,
      versions: 1,
    })

    const points: KillPoint[] = [
      ...stageName.options.map((stage) => ({ stage })),
      { stage: 'train', afterCheckpoint: true },
    ]
    for (const point of points)
      expect({ point, ...(await killed(home.path, point)) }).toEqual({ point, ...expected })
  })
})

async function killed(home: string, point: KillPoint): Promise<Outcome> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    await using copy = await copyHome(home)
    if (await killInside(copy, taskName, point)) return await runToEnd(copy, taskName)
  }
  throw new Error(`No signal came inside ${point.stage}.`)
}
