import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { cacheDir } from '../../src/setup/paths.mjs'
import { root, runProgram, tempFolder } from './host.ts'

const timeoutMs = 300_000

test('the packed package installs elsewhere, imports, has types, and starts', {
  timeout: timeoutMs,
}, async () => {
  using folder = tempFolder()
  const succeed = async (command: readonly string[]): Promise<string> => {
    const ended = await runProgram(command, { cwd: folder.path, env: { SHADOW_CACHE: cacheDir() } })
    expect(ended.code, `${command.join(' ')}\n${ended.stdout}${ended.stderr}`).toBe(0)
    return ended.stdout
  }
  await succeed(['npm', 'pack', root, '--pack-destination', folder.path])
  const [tarball = ''] = readdirSync(folder.path).filter((name) => name.endsWith('.tgz'))
  writeFileSync(join(folder.path, 'package.json'), '{"type":"module"}')
  await succeed([
    'npm',
    'install',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    '--omit=dev',
    `./${tarball}`,
  ])

  writeFileSync(
    join(folder.path, 'use.ts'),
    `import { type PackedTokens, pack } from '@useshadow/shadow/engine'
     import { chatMessage } from '@useshadow/shadow/contract'
     import { ShadowError } from '@useshadow/shadow'
     const packed: PackedTokens = pack([[1, 2]])
     const role: string = chatMessage.parse({ role: 'user', content: 'x' }).role
     console.log(packed.ids.length, role, new ShadowError('busy', 'x').code)`,
  )
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const options = '--noEmit --strict --module nodenext --target es2024 --skipLibCheck --types node'.split(' ')
  await succeed([
    process.execPath,
    tsc,
    ...options,
    '--typeRoots',
    join(root, 'node_modules', '@types'),
    'use.ts',
  ])
  expect(await succeed([process.execPath, 'use.ts'])).toBe('2 user busy\n')
  expect(await succeed(['npx', 'shadow', '--version'])).toMatch(/^\d+\.\d+\.\d+\n$/)
})
