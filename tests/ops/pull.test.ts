import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { findModel, listModels, modelsFolder } from '../../src/engine/index.ts'
import { exportModel } from '../../src/engine/io/export.ts'
import { pullModel, removeModel } from '../../src/ops/pull/pull.ts'
import { testHome } from '../support/home.ts'
import { startStandInHub } from '../support/stand-in-hub.ts'
import { writeTinyModel } from '../support/tiny-model.ts'

const scratch = mkdtempSync(join(tmpdir(), 'shadow-pull-'))
const tiny = writeTinyModel(scratch)
const gguf = new Uint8Array(readFileSync(tiny))
const folder = join(scratch, 'hf')
await exportModel({ basePath: tiny, adapterFolder: null, format: 'hf', outFolder: folder })
const hfFiles = Object.fromEntries(
  readdirSync(folder).map((name) => [name, new Uint8Array(readFileSync(join(folder, name)))]),
)
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

let cache = ''
beforeEach(() => {
  cache = mkdtempSync(join(scratch, 'cache-'))
  vi.stubEnv('SHADOW_CACHE', cache)
})
afterEach(() => vi.unstubAllEnvs())

const id = 'acme/tiny'
const quiet = { begin: () => ({ update() {} }), end() {}, note() {} }
const pull = (
  source: string,
  env: NodeJS.ProcessEnv = {},
  more: { name?: string; signal?: AbortSignal } = {},
) => pullModel({ source, progress: quiet, signal: new AbortController().signal, env, ...more })

describe('from a hub', () => {
  test('a folder without what is not needed, ready to load by its id', async () => {
    const junk = new Uint8Array(2_000_000)
    await using hub = await startStandInHub(id, {
      ...hfFiles,
      'model.Q4_K_M.gguf': gguf,
      'pytorch_model.bin': junk,
      'consolidated.safetensors': junk,
      'onnx/model.onnx': junk,
      'tf_model.h5': junk,
      'README.md': junk,
    })
    const model = await pull(id, { HF_ENDPOINT: hub.url })
    expect(model).toMatchObject({ name: id, family: 'llama', storedAs: 'F32', problem: null })
    expect(readdirSync(model.path).toSorted()).toEqual(Object.keys(hfFiles).toSorted())
    expect(findModel(id)).toBe(model.path)
    expect(listModels().map(({ name }) => name)).toEqual([id])
    expect(readdirSync(join(modelsFolder(), '.partial'))).toEqual([])
    expect(hub.seen.every(({ token }) => token === undefined)).toBe(true)
    expect(removeModel(listModels(), id)).toBeGreaterThan(10_000)
    expect(listModels()).toEqual([])
  })

  test('one GGUF file of several, and then another', async () => {
    await using hub = await startStandInHub(id, { 'a.gguf': gguf, 'b.gguf': gguf })
    const env = { HF_ENDPOINT: `${hub.url}/` }
    await expect(pull(id, env)).rejects.toMatchObject({
      code: 'invalid_request',
      hint: expect.stringMatching(/acme\/tiny\/a.gguf \(\d+ MB\), acme\/tiny\/b.gguf/),
    })
    await pull(`${id}/a.gguf`, env)
    expect(findModel(id)).toMatch(/a\.gguf$/)
    await pull(`${id}/b.gguf`, env)
    expect(listModels().map(({ name }) => name)).toEqual([`${id}/a.gguf`, `${id}/b.gguf`])
    expect(findModel(`${id}/b.gguf`)).toMatch(/b\.gguf$/)
    expect(() => findModel(id)).toThrow(/several/)
    await expect(pull(`${id}/c.gguf`, env)).rejects.toThrow(/no file c.gguf/)
  })

  test('connections that break are gone on with where they ended', async () => {
    await using hub = await startStandInHub(id, { 'tiny.gguf': gguf })
    hub.cutAfter.push(1000, 70_000, 5)
    const { path } = await pull(id, { HF_ENDPOINT: hub.url })
    expect(readFileSync(path).equals(gguf)).toBe(true)
    const ranges = hub.seen.flatMap(({ range }) =>
      range === undefined || range === 'bytes=0-0' ? [] : [range],
    )
    // Not a byte that came is asked for again.
    expect(ranges).toEqual(['bytes=1000-', 'bytes=71000-', 'bytes=71005-'])
  })

  test('a hub that knows no ranges is read from the start again', async () => {
    await using hub = await startStandInHub(id, { 'tiny.gguf': gguf })
    hub.ignoresRanges = true
    hub.cutAfter.push(1000)
    const { path } = await pull(id, { HF_ENDPOINT: hub.url })
    expect(readFileSync(path).equals(gguf)).toBe(true)
  })

  test('a stopped pull keeps what it has, and a model that changed since is fetched anew', async () => {
    await using hub = await startStandInHub(id, { 'tiny.gguf': gguf })
    hub.bytesPerSecond = gguf.length
    const env = { HF_ENDPOINT: hub.url }
    const stop = new AbortController()
    setTimeout(() => stop.abort(new Error('stopped')), 500)
    await expect(pull(id, env, { signal: stop.signal })).rejects.toThrow('stopped')
    hub.bytesPerSecond = null
    const before = hub.seen.length
    hub.sha = 'b'.repeat(40)
    await pull(id, env)
    expect(hub.seen.slice(before).every(({ range }) => range === undefined || range === 'bytes=0-0')).toBe(
      true,
    )
  })

  test('bytes that are not those listed are never used', async () => {
    await using hub = await startStandInHub(id, {})
    const sha256 = createHash('sha256').update('something else').digest('hex')
    hub.files.set('tiny.gguf', { bytes: gguf, sha256 })
    await expect(pull(id, { HF_ENDPOINT: hub.url })).rejects.toThrow(/another checksum/)
    expect(listModels()).toEqual([])
    hub.files.set('tiny.gguf', { bytes: gguf, small: true })
    await pull(id, { HF_ENDPOINT: hub.url })
    expect(listModels()).toHaveLength(1)
  })

  test('gated models say what to do, and tokens go to the hub alone', async () => {
    await using hub = await startStandInHub(id, { 'tiny.gguf': gguf })
    hub.token = 'hf_right'
    const env = { HF_ENDPOINT: hub.url }
    await expect(pull(id, env)).rejects.toMatchObject({
      code: 'missing_key',
      hint: expect.stringMatching(/Accept the model's terms at .*acme\/tiny.*HF_TOKEN/),
    })
    await expect(pull(id, { ...env, HF_TOKEN: 'hf_wrong' })).rejects.toMatchObject({
      hint: expect.stringMatching(/account that HF_TOKEN belongs to/),
    })
    await expect(pull(id, { ...env, HF_TOKEN: 'secret' })).rejects.toThrow(/does not begin with hf_/)
    await pull(id, { ...env, HF_TOKEN: 'hf_right' })
    expect(listModels()).toHaveLength(1)
  })

  test('names that lead elsewhere are not followed', async () => {
    await using hub = await startStandInHub(id, { ...hfFiles })
    for (const name of [
      '../model.safetensors',
      '/etc/model.safetensors',
      '..',
      '.gguf',
      'a\\b.gguf',
      'x/../y.gguf',
    ])
      hub.files.set(name, { bytes: gguf })
    const { path } = await pull(id, { HF_ENDPOINT: hub.url })
    expect(readdirSync(path).toSorted()).toEqual(Object.keys(hfFiles).toSorted())
    await expect(pull('../../x', { HF_ENDPOINT: hub.url })).rejects.toMatchObject({ code: 'not_found' })
    await expect(pull(id, { HF_ENDPOINT: hub.url }, { name: '../x' })).rejects.toThrow(/no name for a model/)
  })

  test('what is no model is refused before it counts as one', async () => {
    await using hub = await startStandInHub(id, { 'tiny.gguf': gguf.slice(0, 5000) })
    const env = { HF_ENDPOINT: hub.url }
    await expect(pull(id, env)).rejects.toMatchObject({ code: 'invalid_file' })
    expect(listModels()).toEqual([])
    await expect(pull('acme/other', env)).rejects.toMatchObject({ code: 'not_found' })
    hub.files.clear()
    hub.files.set('pytorch_model.bin', { bytes: gguf })
    await expect(pull(id, env)).rejects.toThrow(/neither as model.safetensors nor as GGUF/)
    await expect(pull(id, { HF_ENDPOINT: 'ftp://x' })).rejects.toThrow(/HF_ENDPOINT/)
    await expect(pull(id, { HF_ENDPOINT: 'http://127.0.0.1:9' })).rejects.toMatchObject({
      code: 'upstream_unreachable',
    })
  })

  test('a disk that is too small is said before anything comes', async () => {
    await using hub = await startStandInHub(id, { 'tiny.gguf': gguf })
    hub.files.set('tiny.gguf', { bytes: gguf, size: 9e15 })
    await expect(pull(id, { HF_ENDPOINT: hub.url })).rejects.toMatchObject({
      code: 'missing_prerequisite',
      message: expect.stringMatching(/needs 9000000\.0 GB, and .* are free/),
    })
  })
})

describe('from this machine', () => {
  test('a file and a folder', async () => {
    expect(await pull(tiny)).toMatchObject({ name: 'tiny-llama', family: 'llama' })
    expect(await pull(folder, {}, { name: 'acme/copy' })).toMatchObject({
      name: 'acme/copy',
      storedAs: 'F32',
    })
    expect(listModels().map(({ name }) => name)).toEqual(['acme/copy', 'tiny-llama'])
    expect(existsSync(findModel('tiny-llama'))).toBe(true)
  })
})

describe('the command', () => {
  test('pulls, goes on after a kill, lists and removes', { timeout: 60_000 }, async () => {
    await using hub = await startStandInHub(id, { 'tiny.gguf': gguf })
    await using home = await testHome()
    Object.assign(home.env, { HF_ENDPOINT: hub.url, SHADOW_CACHE: cache })
    hub.bytesPerSecond = gguf.length / 4
    const first = home.start(['models', 'pull', id])
    await vi.waitFor(() => expect(hub.seen.length).toBeGreaterThanOrEqual(4), { timeout: 20_000 })
    await new Promise((resolve) => setTimeout(resolve, 500))
    first.kill('SIGKILL')
    await first.finished
    hub.bytesPerSecond = null
    const { code, stdout } = await home.shadow(['models', 'pull', id])
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/tiny\.gguf {2}llama {2}\d+k parameters/),
    })
    expect(hub.seen.at(-1)?.range).toMatch(/^bytes=[1-9]\d*-$/)
    expect((await home.shadow(['models'])).stdout).toMatch(
      /^name +family .*\nacme\/tiny +llama +\d+k +1 MB +F32 /,
    )
    const missing = await home.shadow(['models', 'remove', 'acme/none'])
    expect(missing).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/There is no model .*\nThere are: acme\/tiny/),
    })
  })
})
