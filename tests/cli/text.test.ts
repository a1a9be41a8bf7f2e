import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { text as readAll } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { talk } from '../../src/cli/talk.ts'
import { load } from '../../src/engine/index.ts'
import { Chat, readTools } from '../../src/ops/text.ts'
import { openWorkspace } from '../../src/ops/workspace.ts'
import { cacheDir, packageRoot } from '../../src/setup/paths.mjs'
import { testHome } from '../support/home.ts'
import { writeTinyModel } from '../support/tiny-model.ts'

const folder = mkdtempSync(join(tmpdir(), 'shadow-text-'))
const tiny = writeTinyModel(folder)
const adapter = join(folder, 'adapter')
const orphan = join(folder, 'orphan')
const call = '<tool_call>{"name":"f","arguments":{"a":1}}</tool_call>'
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** An adapter that answers "hi" with a sentence and "go" with a call. */
beforeAll(async () => {
  using model = await load(tiny, { verbose: false })
  const pair = (question: string, answer: string) => ({
    messages: [
      { role: 'user', content: question },
      { role: 'assistant', content: answer },
    ],
  })
  await model.train([pair('hi', 'Hello!'), pair('go', `Ok.${call}`)], { max_steps: 80, learning_rate: 2e-2 })
  await model.save(adapter)
  cpSync(adapter, orphan, { recursive: true })
  const config = join(orphan, 'adapter_config.json')
  writeFileSync(config, readFileSync(config, 'utf8').replace(tiny, 'acme/unknown'))
}, 60_000)

const greedy = ['--temperature', '0', '--max-new-tokens', '80']

async function piped(env: NodeJS.ProcessEnv, args: readonly string[], input: string) {
  const main = join(packageRoot(), 'src/cli/main.ts')
  const child = spawn(process.execPath, [main, ...args], { env, stdio: 'pipe' })
  child.stdin.end(input)
  const [stdout, stderr] = await Promise.all([readAll(child.stdout), readAll(child.stderr)])
  return {
    code: child.exitCode ?? (await new Promise((resolve) => child.once('exit', resolve))),
    stdout,
    stderr,
  }
}

describe('the commands', { timeout: 120_000 }, () => {
  test('take as many threads as they are told', async () => {
    await using home = await testHome()
    const alone = await piped(home.env, ['chat', adapter, ...greedy, '--threads', '1'], 'hi\n')
    expect(alone).toEqual({ code: 0, stdout: 'Hello!\n', stderr: '' })
    const none = await piped(home.env, ['chat', adapter, '--threads', '0'], 'hi\n')
    expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining('It must be 1 or more') })
    const wrong = await piped({ ...home.env, SHADOW_THREADS: 'all' }, ['chat', adapter], 'hi\n')
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining('SHADOW_THREADS is all') })
  })

  test('answer from an adapter folder and from a base model', async () => {
    await using home = await testHome()
    const chat = await piped(home.env, ['chat', adapter, ...greedy], 'go\n')
    expect(chat).toEqual({ code: 0, stdout: 'Ok.\n→ f({"a":1})\n', stderr: '' })

    expect(await piped(home.env, ['chat', tiny], ' \n')).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^There is no question/),
    })
    const generated = await home.shadow(['generate', tiny, 'abc', ...greedy, '--max-new-tokens', '6'])
    using model = await load(tiny, { verbose: false })
    const text = await model.generate('abc', { temperature: 0, maxNewTokens: 6 })
    expect(generated).toMatchObject({ code: 0, stdout: `${text}\n` })
  })

  test('answer from a training, by its folder and by its id', async () => {
    await using home = await testHome()
    const training = join(home.path, 'runs', 'tiny-1')
    cpSync(adapter, join(training, 'adapter'), { recursive: true })
    writeFileSync(join(training, 'run.json'), '{}')
    for (const target of [training, 'tiny-1']) {
      const { code, stdout } = await piped(home.env, ['chat', target, ...greedy], 'hi\n')
      expect({ code, stdout }).toEqual({ code: 0, stdout: 'Hello!\n' })
    }
    rmSync(join(training, 'adapter'), { recursive: true })
    const { code, stderr } = await home.shadow(['generate', 'tiny-1', 'x'])
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/tiny-1 has no adapter yet/) })
  })

  test('ask for a base model that an adapter does not name', async () => {
    await using home = await testHome()
    const { code, stderr } = await home.shadow(['generate', orphan, 'x'])
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringMatching(
        /was trained on acme\/unknown, which is not here\.\nName the base model with -m/,
      ),
    })
  })
})

/** The engine and its models stay where they are. */
function stubHome(path: string): void {
  vi.stubEnv('SHADOW_CACHE', cacheDir())
  vi.stubEnv('SHADOW_HOME', path)
}

describe('a conversation', () => {
  afterEach(() => vi.unstubAllEnvs())

  test('goes on until an empty line, remembers, and takes the newest version of a task', async () => {
    await using home = await testHome()
    stubHome(home.path)
    await using workspace = await openWorkspace()
    cpSync(adapter, join(home.path, 'artifacts', 'desk'), { recursive: true })
    await workspace.pipeline.versions.add('key', {
      task: 'desk',
      baseModel: tiny,
      baseHash: 'x',
      adapterPath: 'artifacts/desk',
      adapterHash: 'x',
      servingHash: 'x',
      servePolicy: { temperature: 0, maxTokens: 64 },
      promoted: true,
      sentence: '',
    })
    using chat = await Chat.open(workspace, { target: 'owned/desk', temperature: 0, maxNewTokens: 80 })
    const stdin = new PassThrough()
    const stdout = new PassThrough()
    const done = talk(chat, { stdin, stdout })
    stdin.end('hi\ngo\n\nnever read\n')
    await done
    stdout.end()
    expect(await readAll(stdout)).toMatch(/^> Hello!\n/)
    await expect(Chat.open(workspace, { target: 'owned/none' })).rejects.toThrow(/no owned model yet/)
  })

  test('a turn that is stopped leaves it as it was', async () => {
    await using home = await testHome()
    stubHome(home.path)
    await using workspace = await openWorkspace()
    using chat = await Chat.open(workspace, { target: orphan, base: tiny, temperature: 0, maxNewTokens: 80 })
    const stopped = new AbortController()
    await expect(chat.say('hi', () => stopped.abort(new Error('enough')), stopped.signal)).rejects.toThrow(
      'enough',
    )
    let shown = ''
    const reply = await chat.say('go', (text) => (shown += text))
    expect({ shown, calls: reply.toolCalls }).toEqual({
      shown: 'Ok.',
      calls: [{ name: 'f', arguments: '{"a":1}' }],
    })
  })

  test('tools are read from a file', () => {
    const path = join(folder, 'tools.json')
    writeFileSync(path, '[{"function":{"name":"f"}}]')
    expect(readTools(path)).toEqual([{ type: 'function', function: { name: 'f' } }])
    writeFileSync(path, '{}')
    expect(() => readTools(path)).toThrow(/expected array/)
    expect(() => readTools(join(folder, 'none.json'))).toThrow(/Can't read the tools/)
  })
})
