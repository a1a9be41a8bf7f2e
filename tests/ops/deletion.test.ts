import { existsSync, readdirSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { StageRunner, storedPath } from '../../src/ops/run/stage.ts'
import { hashFolder } from '../../src/lib/files.ts'
import { servePolicy } from '../../src/contract/index.ts'
import { openPipelineStore } from '../../src/store/pipeline/pipeline-store.ts'
import { filesWith } from '../support/grep-home.ts'
import { type TestHome, testHome } from '../support/home.ts'
import { playSessions, startTraffic, taskName } from '../support/task-traffic.ts'
import { writeTinyModel } from '../support/tiny-model.ts'

const line = z.object({
  id: z.string(),
  session: z.string(),
  promptNode: z.string(),
  messages: z.array(z.object({ content: z.string() })),
  replies: z.array(z.object({ node: z.string() })),
})

async function callThatAsked(home: TestHome, text: string) {
  const { stdout } = await home.shadow(['calls', '--json'])
  const calls = stdout
    .trim()
    .split('\n')
    .map((each) => line.parse(JSON.parse(each)))
  const found = calls.find(({ messages }) => messages[0]?.content === text)
  if (found === undefined) throw new Error(`Nobody asked ${text}.`)
  return found
}

/** What a run leaves behind, up to the dataset by the command, then a verdict and a version in the same places. */
async function derive(home: TestHome, about: z.infer<typeof line>) {
  const run = await home.shadow(['run', '--task', taskName, '--until', 'dataset', '--json'])
  expect({ code: run.code, stderr: run.stderr }).toEqual({ code: 0, stderr: '' })
  const { runId } = z
    .object({ runId: z.string() })
    .parse(JSON.parse(run.stdout.trim().split('\n').at(-1) ?? ''))
  const pipeline = await openPipelineStore(home.path)
  const scores = Object.fromEntries(about.replies.map(({ node }) => [node, 1]))
  await pipeline.verdicts.put({
    id: 'v1',
    task: taskName,
    promptNode: about.promptNode,
    judge: 'judge',
    rubricHash: 'r',
    kind: 'listwise',
    scores,
    orderShown: [],
    rawReply: 'it asked for request 17, rightly',
    usage: null,
    tookMs: 1,
  })
  const progress = { begin: () => ({ update() {} }), end() {}, note() {} }
  const stages = new StageRunner({ run: runId, task: taskName, home: home.path, pipeline, progress })
  const trained = await stages.run({
    name: 'train',
    inputs: { test: true },
    output: z.object({ hash: z.string() }),
    async run({ output }) {
      await mkdir(join(output, 'adapter'))
      await writeFile(join(output, 'adapter', 'adapter.safetensors'), 'weights')
      await writeFile(join(output, 'notes.txt'), 'row of request 17')
      return { hash: await hashFolder(join(output, 'adapter')) }
    },
    facts: () => ({}),
  })
  const version = await pipeline.versions.add('source', {
    task: taskName,
    baseModel: 'x',
    baseHash: 'x',
    adapterPath: storedPath(home.path, join(trained.folder, 'adapter')),
    adapterHash: trained.output.hash,
    servePolicy: servePolicy.parse({}),
    servingHash: 'x',
    promoted: true,
    sentence: 'Promoted.',
  })
  await pipeline.close()
  return { adapter: join(trained.folder, 'adapter', 'adapter.safetensors'), version }
}

test('a session goes through the running server, with all that was made of it; the models too when asked', async () => {
  await using home = await testHome()
  await using stack = new AsyncDisposableStack()
  const { server, client } = await startTraffic(home, stack)
  await playSessions(client(), 24)
  await home.shadow([
    'tasks',
    'set',
    taskName,
    `baseModel=${writeTinyModel(home.path)}`,
    'holdOut.sessions=4',
  ])
  const asked = await callThatAsked(home, 'request 17')
  const other = await callThatAsked(home, 'request 16')
  const { adapter } = await derive(home, asked)
  const before = await filesWith(home.path, 'request 17')
  expect(before.some((path) => path.startsWith('artifacts'))).toBe(true)
  expect(before.some((path) => path.startsWith('pipeline.db'))).toBe(true)

  const dry = await home.shadow(['sessions', 'delete', asked.session, '--dry-run'])
  expect(dry.stdout).toBe(`1 calls in 1 sessions of ${taskName} would go. Nothing was changed.\n`)
  const { code, stdout, stderr } = await home.shadow(['sessions', 'delete', asked.session])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toContain('1 calls in 1 sessions are deleted.\n2 verdicts about them are deleted.\n')
  expect(stdout).toContain(`owned/${taskName}@1 was trained on them and still answers; give --cascade`)
  expect(await filesWith(home.path, 'request 17')).toEqual([])
  expect(existsSync(adapter)).toBe(true)
  expect(await playSessions(client(), 2, 100)).toEqual(['frontier', 'frontier'])

  // What is left is made again, and the version is known to have been trained on other calls, too.
  const again = await home.shadow(['run', '--task', taskName, '--until', 'dataset'])
  expect(again.code).toBe(0)
  await server.stop()
  const cascaded = await home.shadow(['calls', 'delete', '--task', taskName, '--cascade', '--json'])
  expect(cascaded.stderr).toBe('')
  expect(JSON.parse(cascaded.stdout)).toMatchObject({
    calls: 25,
    isScrubbed: true,
    derived: { versions: [{ name: `owned/${taskName}@1`, isRetired: true }], busy: [] },
  })
  expect(other.messages).toHaveLength(1)
  expect(await filesWith(home.path, 'request 1')).toEqual([])
  expect(existsSync(adapter)).toBe(false)
  expect(readdirSync(join(home.path, 'artifacts', taskName))).toEqual([])
  const sound = await home.shadow(['doctor', '--store'])
  expect({ code: sound.code, stdout: sound.stdout }).toEqual({
    code: 0,
    stdout: expect.stringContaining('ok'),
  })
})

test('a deletion that was killed is gone on with, and what says nothing deletes nothing', async () => {
  await using home = await testHome()
  await using stack = new AsyncDisposableStack()
  const { server, client } = await startTraffic(home, stack)
  await playSessions(client(), 3)
  const nothing = await home.shadow(['calls', 'delete'])
  expect({ code: nothing.code, stderr: nothing.stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(/Nothing says which calls to delete/),
  })
  const pipeline = await openPipelineStore(home.path)
  await pipeline.deletions.start({ task: taskName }, false)
  const report = await home.shadow(['calls', 'delete', '--before', '1d'])
  expect(report.stdout).toBe('0 calls in 0 sessions are deleted.\n')
  expect((await home.shadow(['calls', '--json'])).stdout).toBe('')
  expect(await pipeline.deletions.unfinished()).toEqual([])
  await pipeline.close()
  await server.stop()
})
