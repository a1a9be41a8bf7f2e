import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { testHome } from '../support/home.ts'
import { playSessions, startTraffic, taskName, tinySettings } from '../support/task-traffic.ts'
import { writeTinyModel } from '../support/tiny-model.ts'

describe('commands that can not do what they are asked', () => {
  it.each([
    [['run', '--task', 'nowhere'], /no task "nowhere"/, /shadow serve/],
    [['tasks', 'nowhere'], /no task "nowhere"/, /shadow tasks set nowhere/],
    [['route', 'nowhere', 'owned'], /no task "nowhere"|no owned model/, /shadow/],
    [['tasks', 'set', 'X y'], /is no task name/, /a-z, 0-9/],
    [['tasks', 'set', 'x', 'judge'], /"judge" is no setting/, /key=value/],
    [['tasks', 'set', 'x', 'train.lora_rank=8'], /train\.lora_rank/, /shadow tasks X/],
    [['tasks', 'set', 'x', 'gate.margin=2'], /gate\.margin/, /shadow tasks X/],
    [['calls', 'nothing'], /Nothing has been captured/, /shadow serve/],
    [['references', 'import', 'x', '/nowhere.jsonl'], /Can't read/, null],
    [['serve'], /which frontier/, /--upstream/],
    [['serve', '--upstream', 'ftp://x'], /no http\(s\) URL/, /base URL/],
    [['serve', '--upstream', 'http://x/v1', '--port', 'many'], /"many" is no port/, /65535/],
    [['run'], /--task/, null],
    [['fly'], /unknown command/, null],
  ])('%j says what is wrong and what to do', async (args, says, advises) => {
    await using home = await testHome()
    const { code, stderr } = await home.shadow(args)
    expect(code).toBe(1)
    expect(stderr).toMatch(says)
    if (advises !== null) expect(stderr).toMatch(advises)
    expect(stderr).not.toMatch(/^\s+at /m)
  })

  it('names the line of a reference file that is none, and imports nothing of it', async () => {
    await using home = await testHome()
    const file = join(home.path, 'references.jsonl')
    writeFileSync(file, '{"input":"a","answer":"b"}\n{"input":"a"}\n')
    const { code, stderr } = await home.shadow(['references', 'import', 'x', file])
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/line 2 is no reference/) })
    const listed = await home.shadow(['tasks'])
    expect(listed.stdout).toContain('No task yet')
  })

  it('says that a port is in use, and that a home has its server', async () => {
    await using home = await testHome()
    await using stack = new AsyncDisposableStack()
    const blocker = createServer()
    await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve))
    stack.defer(() => void blocker.close())
    const address = blocker.address()
    const port = typeof address === 'object' ? address?.port : undefined
    const taken = await home.shadow(['serve', '--upstream', 'http://127.0.0.1:1/v1', '--port', `${port}`])
    expect(taken.code).toBe(1)
    expect(taken.stderr).toMatch(/in use/)

    await startTraffic(home, stack)
    const second = await home.shadow(['serve', '--upstream', 'http://127.0.0.1:1/v1', '--port', '0'])
    expect(second.code).toBe(1)
    expect(second.stderr).toMatch(/A server runs in this home already/)
  })

  it('says that a task has no calls, a judge no key, a model file no end', { timeout: 120_000 }, async () => {
    await using home = await testHome()
    await using stack = new AsyncDisposableStack()
    await home.shadow(['tasks', 'set', taskName])
    const empty = await home.shadow(['run', '--task', taskName])
    expect(empty).toMatchObject({ code: 1, stderr: expect.stringMatching(/has no calls yet/) })

    const { client } = await startTraffic(home, stack)
    await playSessions(client(), 14)
    const model = writeTinyModel(home.path)
    await home.shadow(['tasks', 'set', taskName, ...tinySettings(model)])
    const judge = ['judge.baseUrl=http://127.0.0.1:1/v1', 'judge.apiKeyEnv=NO_SUCH_KEY']
    await home.shadow(['tasks', 'set', taskName, ...judge])
    const keyless = await home.shadow(['run', '--task', taskName])
    expect(keyless).toMatchObject({ code: 1, stderr: expect.stringMatching(/NO_SUCH_KEY/) })

    const whole = readFileSync(model)
    writeFileSync(model, whole.subarray(0, whole.length - 5000))
    await home.shadow(['tasks', 'set', taskName, 'judge=null'])
    const truncated = await home.shadow(['run', '--task', taskName])
    expect(truncated.code).toBe(1)
    expect(truncated.stderr).toContain(model)
    expect(truncated.stderr).not.toMatch(/^\s+at /m)

    const second = await home.shadow(['runs'])
    expect(second.stdout).toMatch(/failed/)
  })

  it('keeps what it stores to its owner', async () => {
    await using home = await testHome()
    await using stack = new AsyncDisposableStack()
    const { client } = await startTraffic(home, stack)
    await playSessions(client(), 1)
    const modes = ['capture.db', 'pipeline.db', 'store.secret', 'server.json'].map(
      (name) => statSync(join(home.path, name)).mode & 0o777,
    )
    expect(modes).toEqual([0o600, 0o600, 0o600, 0o600])
    const bytes = readFileSync(join(home.path, 'capture.db'))
    expect(bytes.includes('Bearer')).toBe(false)
  })
})
