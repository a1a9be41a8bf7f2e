/** The process that feeds the loaders; it may crash or hang, and fuzz-files.ts sees that. */
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { Chance } from './chance.ts'
import { fuzzOrder } from './fuzz-files.ts'
import { judgeLoad } from './oracle.ts'
import { fuzzTargets } from './targets.ts'

const order = fuzzOrder.parse(JSON.parse(process.argv[2] ?? ''))
const folders = fuzzTargets.map((_, index) => join(order.folder, `input-${index}`))
for (const folder of folders) mkdirSync(folder)
const progress = openSync(join(order.folder, 'progress'), 'w')
const deadline = performance.now() + order.timeLimitMs
const findings: { target: string; seed: number; problem: string }[] = []
let inputs = 0
let refused = 0

for (let seed = order.firstSeed; inputs < order.inputs && performance.now() < deadline; seed++) {
  const index = seed % fuzzTargets.length
  const target = fuzzTargets[index]
  const folder = folders[index]
  if (target === undefined || folder === undefined) break
  writeSync(progress, String(seed).padStart(12), 0)
  const bytes = target.write(folder, new Chance(seed))
  const outcome = judgeLoad(() => target.load(folder), folder, bytes)
  inputs += 1
  if (outcome.refused) refused += 1
  if (outcome.problem !== undefined) findings.push({ target: target.name, seed, problem: outcome.problem })
  if (findings.length >= 50) break
}
closeSync(progress)
process.send?.({ inputs, refused, findings })
