/**
 * setup: a bare clone and an empty SHADOW_HOME, made ready with warm npm and pip caches. The first clone warms
 * the caches, the second is measured.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { packageRoot } from '../src/setup/paths.mjs'
import { figure, type Row } from './row.ts'

const gigabyte = 1e9

export async function run(): Promise<Row[]> {
  setUpClone()
  const second = setUpClone()
  return [
    figure(
      'setup.time',
      'second bare clone, warm npm and pip caches, until the entry starts',
      second.seconds / 60,
      'min',
      {
        must: '≤ 3',
        ok: second.seconds <= 180,
      },
    ),
    figure(
      'setup.disk',
      'clone with node_modules, engine and model; caches of npm and pip not counted',
      second.bytes / gigabyte,
      'GB',
      {
        must: '≤ 1',
        ok: second.bytes <= gigabyte,
      },
    ),
    figure('setup.again', 'the same command when everything is there', second.againSeconds, 's'),
  ]
}

function setUpClone(): { seconds: number; againSeconds: number; bytes: number } {
  const folder = mkdtempSync(join(tmpdir(), 'shadow-setup-'))
  try {
    const clone = join(folder, 'clone')
    const home = join(folder, 'home')
    execFileSync('git', ['clone', '-q', packageRoot(), clone])
    const entry = join(folder, 'entry.mjs')
    writeFileSync(entry, '')
    const { SHADOW_CACHE: _, SHADOW_ENGINE_ADDON: __, ...rest } = process.env
    const bootstrap = (): number => {
      const started = performance.now()
      // The machine's own Node, as npm would start it.
      execFileSync('node', [join(clone, 'src', 'setup', 'bootstrap.mjs'), entry], {
        cwd: clone,
        stdio: 'inherit',
        env: { ...rest, SHADOW_HOME: home },
      })
      return (performance.now() - started) / 1000
    }
    const seconds = bootstrap()
    const againSeconds = bootstrap()
    const bytes = Number(execFileSync('du', ['-sb', folder], { encoding: 'utf8' }).split('\t')[0])
    return { seconds, againSeconds, bytes }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
