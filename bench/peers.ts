/** parity.peers: other tools load what Shadow writes, and Shadow what they wrote; see tests/peers. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Runtime } from '../src/engine/index.ts'
import { distances, writtenByPeers } from '../tests/engine/peer-adapters.ts'
import { peerCases, preparePeers } from '../tests/peers/exports.ts'
import { writeTinyModel } from '../tests/support/tiny-model.ts'
import { figure, type Row } from './row.ts'

interface Result {
  readonly name: string
  readonly agrees: boolean
  /** Largest difference of a logit. */
  readonly difference: number
}

export async function run(): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'shadow-peers-'))
  try {
    const ask = await preparePeers(folder)
    const load = peerCases.map((peerCase) => {
      const { agrees, difference } = ask(peerCase)
      console.log(`${peerCase.peer}: ${agrees ? 'agrees' : 'DIFFERS'}, ${difference.toExponential(1)}`)
      return { name: peerCase.peer, agrees, difference }
    })
    const basePath = writeTinyModel(join(folder, 'tiny'))
    const runtime = new Runtime()
    const read: Result[] = []
    for (const adapter of writtenByPeers()) {
      const { beside, merged } = await distances(adapter, runtime, basePath, join(folder, 'read'))
      const difference = Math.max(beside, merged)
      read.push({ name: adapter.name, agrees: difference <= 2e-5, difference })
    }
    return [
      summary('parity.peers.write', 'exports that the tools load and answer from as we do', load),
      summary('parity.peers.read', 'adapters that the tools wrote and that answer here as there', read),
    ]
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function summary(id: string, what: string, results: readonly Result[]): Row {
  const agree = results.filter(({ agrees }) => agrees).length
  const each = results.map(({ name, difference }) => `${name} ${difference.toExponential(1)}`).join('; ')
  const all = results.length
  return figure(id, `${what}; largest difference of a logit: ${each}`, agree, `of ${all}`, {
    must: 'all',
    ok: agree === all,
  })
}
