import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { cacheDir } from '../../src/setup/paths.mjs'
import { pathWith, root, runProgram, tempFolder } from './host.ts'

/** The machine's own Node, which starts npm's scripts; older than the pinned one. */
const hostNode = execFileSync('node', ['--print', 'process.execPath'], { encoding: 'utf8' }).trim()
const bootstrap = [hostNode, join(root, 'src/setup/bootstrap.mjs')]
/** The engine and the model are ready in the cache that the tests run with. */
const ready = { SHADOW_CACHE: cacheDir() }

function program(folder: string, source: string): string {
  const path = join(folder, 'program.ts')
  writeFileSync(path, source)
  return path
}

describe('when everything is there', () => {
  test('the program runs on the pinned Node, with its arguments, and nothing else is printed', async () => {
    using folder = tempFolder()
    const path = program(
      folder.path,
      'const args: string[] = process.argv.slice(2)\nconsole.log(process.version, ...args)',
    )
    const { code, stdout, stderr } = await runProgram([...bootstrap, path, '--flag', 'a b'], { env: ready })
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: `${process.version} --flag a b\n`,
      stderr: '',
    })
  })

  test('the exit code is the program’s own', async () => {
    using folder = tempFolder()
    const { code } = await runProgram([...bootstrap, program(folder.path, 'process.exit(7)')], { env: ready })
    expect(code).toBe(7)
  })

  test('a signal reaches the program, and its way of ending is passed on', async () => {
    using folder = tempFolder()
    const waits = program(folder.path, "console.log('up')\nsetInterval(() => {}, 1000)")
    const killed = await runProgram([...bootstrap, waits], {
      env: ready,
      onStdout: (_text, kill) => kill('SIGTERM'),
    })
    expect(killed.signal).toBe('SIGTERM')
    const handles = program(
      folder.path,
      "process.on('SIGINT', () => { console.log('saved'); process.exit(3) })\nconsole.log('up')\nsetInterval(() => {}, 1000)",
    )
    const stopped = await runProgram([...bootstrap, handles], {
      env: ready,
      onStdout: (text, kill) => {
        if (text.includes('up')) kill('SIGINT')
      },
    })
    expect(stopped).toMatchObject({ code: 3, stdout: 'up\nsaved\n' })
  })

  test('a tool of node_modules is found by its name', async () => {
    const { code, stdout } = await runProgram([...bootstrap, '--dev', 'vitest', '--version'], { env: ready })
    expect(code).toBe(0)
    expect(stdout).toMatch(/^vitest\/5/)
  })
})

describe('when something is missing, one sentence says what to install', () => {
  const cases: [string, Record<string, string>, RegExp][] = [
    ['a compiler', { node: hostNode }, /^No C\+\+ compiler was found\. Install a C\+\+ compiler: .*\n$/],
    ['pip', { node: hostNode, 'g++': '/bin/true' }, /^pip was not found\. Install pip .*\n$/],
  ]
  test.each(cases)('%s', async (_name, programs, sentence) => {
    using folder = tempFolder()
    using bin = tempFolder()
    const env = { SHADOW_CACHE: folder.path, PATH: pathWith(bin.path, programs), CXX: undefined }
    const { code, stdout, stderr } = await runProgram([...bootstrap, 'src/cli/main.ts'], { env })
    expect(stderr).toMatch(sentence)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  })

  test('the name of the program', async () => {
    const { code, stderr } = await runProgram(bootstrap, { env: ready })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^Name the program to start/)
  })
})
