import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { datasetRow } from '../../src/contract/dataset.ts'
import { evaluatedRow } from '../../src/contract/evaluation.ts'
import { type TestHome, testHome } from '../support/home.ts'
import { childrenOf } from '../support/processes.ts'
import { playSessions, rightAnswer, startTraffic, taskName, tinySettings } from '../support/task-traffic.ts'
import { writeTinyModel } from '../support/tiny-model.ts'

async function runTask(home: TestHome, ...more: string[]) {
  const { code, stdout, stderr } = await home.shadow(['run', '--task', taskName, '--json', ...more])
  expect(stderr).toBe('')
  expect(code).toBe(0)
  return { stdout, result: JSON.parse(stdout.trim().split('\n').at(-1) ?? '') }
}

describe('the whole way with a tiny model', () => {
  it('captures, trains, promotes, takes over, falls back and gives back', async () => {
    await using home = await testHome()
    await using stack = new AsyncDisposableStack()
    const { standIn, server, client } = await startTraffic(home, stack)
    expect(new Set(await playSessions(client(), 40))).toEqual(new Set(['frontier']))

    const model = writeTinyModel(home.path)
    await home.shadow(['tasks', 'set', taskName, ...tinySettings(model)])
    const plan = await home.shadow(['run', '--task', taskName, '--dry-run'])
    expect(plan.stdout).toContain('40 calls in 40 sessions')
    expect(plan.stdout).toContain('28 sessions train, 12 are held out')
    expect(plan.stdout).toContain('no judge is set')

    const { result, stdout } = await runTask(home)
    expect(result.decision.sentence).toMatch(/^Promoted: on 12 held-out calls/)
    expect(result.version).toBe(`owned/${taskName}@1`)
    expect(stdout).toContain(result.decision.sentence)
    const rows = readFileSync(join(result.datasetFolder, 'train.jsonl'), 'utf8').trim().split('\n')
    expect(rows.map((row) => datasetRow.parse(JSON.parse(row)).messages.at(-1)?.content)).toEqual(
      Array.from({ length: 28 }, () => rightAnswer),
    )
    const answers = readFileSync(result.heldOutPath, 'utf8').trim().split('\n')
    expect(answers.map((line) => evaluatedRow.parse(JSON.parse(line)).answers.owned)).toEqual(
      Array.from({ length: 12 }, () => rightAnswer),
    )
    const markdown = readFileSync(result.reportMarkdown, 'utf8')
    expect(markdown).toContain('No judge is set')
    expect(markdown).toContain('first captured reply')

    // The owned model answers the running server's next calls, the frontier being gone.
    await standIn.close()
    expect(await playSessions(client(), 3, 100)).toEqual(Array.from({ length: 3 }, () => result.version))
    const streamed = await client().chat.completions.create({
      model: 'frontier-1',
      messages: [{ role: 'user', content: 'request 200' }],
      stream: true,
      stream_options: { include_usage: true },
    })
    let text = ''
    let tokens = 0
    for await (const chunk of streamed) {
      text += chunk.choices[0]?.delta.content ?? ''
      tokens = chunk.usage?.completion_tokens ?? tokens
    }
    expect({ text, tokens }).toEqual({ text: rightAnswer, tokens: 2 })
    const models = await client().models.list()
    expect(models.data.map((each) => each.id)).toContain(result.version)

    const drawn = await home.shadow(['plot', 'latest', '--smooth', '0.5'])
    expect(drawn.stdout).toMatch(/^loss\n[^]*●[^]*step 1–24 · last /)
    expect((await home.shadow(['plot', 'latest', 'eval_loss'])).stdout).toContain('evaluation not configured')
    const listed = await home.shadow(['runs', '--limit', '1'])
    expect(listed.stdout).toMatch(/ [▁▂▃▄▅▆▇█]{12} \d\.\d{3} /)

    const again = await runTask(home)
    expect(again.result.stages.every((stage: { reused: boolean }) => stage.reused)).toBe(true)
    expect(again.result.version).toBe(result.version)

    expect((await home.shadow(['runs', '--delete', again.result.runId])).stdout).toContain('is forgotten')
    expect((await home.shadow(['runs'])).stdout).not.toContain(again.result.runId)
    expect((await home.shadow(['runs'])).stdout).toContain(result.runId)

    const back = await home.shadow(['route', taskName, 'frontier'])
    expect(back.stdout).toContain(`${taskName} is answered by the frontier`)
    await expect(playSessions(client(), 1, 300)).rejects.toThrow(/502/)
    const third = await home.shadow(['route', taskName, 'owned'])
    expect(third.stdout).toContain(`answered by ${result.version}`)
    expect(await playSessions(client(), 1, 400)).toEqual([result.version])
    await server.stop()
  })

  it('refuses an under-trained model and leaves the frontier answering', async () => {
    await using home = await testHome()
    await using stack = new AsyncDisposableStack()
    const { client } = await startTraffic(home, stack)
    await playSessions(client(), 24)
    const model = writeTinyModel(home.path)
    await home.shadow(['tasks', 'set', taskName, ...tinySettings(model), 'train.max_steps=1'])
    const { result } = await runTask(home)
    expect(result.decision.sentence).toMatch(/^Refused: /)
    expect(result.promoted).toBe(false)
    expect(await playSessions(client(), 2, 100)).toEqual(['frontier', 'frontier'])
  })

  it('lets the frontier answer in the same request when the serving process dies', async () => {
    await using home = await testHome()
    await using stack = new AsyncDisposableStack()
    const { client, server } = await startTraffic(home, stack)
    await playSessions(client(), 24)
    await home.shadow(['tasks', 'set', taskName, ...tinySettings(writeTinyModel(home.path))])
    const { result } = await runTask(home)
    expect(result.promoted).toBe(true)
    // What the owned server can't honour, the frontier answers.
    const forced = await client()
      .chat.completions.create({
        model: 'frontier-1',
        messages: [{ role: 'user', content: 'request 500' }],
        response_format: { type: 'json_object' },
      })
      .withResponse()
    expect(forced.response.headers.get('x-shadow-served-by')).toBe('frontier')

    const [child] = await childrenOf(server.pid)
    if (child === undefined) throw new Error('The server has a serving child.')
    process.kill(child, 'SIGKILL')
    expect(await playSessions(client(), 1, 600)).toEqual(['frontier'])
    // It is started again on its own.
    await expect
      .poll(async () => (await playSessions(client(), 1, 700))[0], { timeout: 20_000, interval: 200 })
      .toBe(result.version)
  })
})
