/** How near the engine and its files are to the reference implementations and to themselves. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Runtime } from '../src/engine/index.ts'
import { differences, readConversations } from '../tests/engine/conversations.ts'
import { exactTrips, logitTrips } from '../tests/engine/round-trips.ts'
import { sftLosses, worstLoss } from '../tests/engine/sft-losses.ts'
import { writeTinyModel } from '../tests/support/tiny-model.ts'
import { figure, type Row } from './row.ts'

const parts: readonly (() => Row[] | Promise<Row[]>)[] = [files, tokens, sft]

export async function run(): Promise<Row[]> {
  const rows: Row[] = []
  for (const part of parts) rows.push(...(await part()))
  return rows
}

/** parity.sft: the losses of a fine-tuning against those of TRL with PEFT, on the default model. */
function sft(): Row[] {
  const losses = sftLosses(20)
  const worst = worstLoss(losses)
  return [
    figure(
      'parity.sft',
      `largest difference of the first ${losses.theirs.length} losses from those of TRL with PEFT, SmolLM2-135M`,
      worst,
      'relative',
      { must: '≤ 1e-3', ok: worst <= 1e-3 },
    ),
  ]
}

/** parity.files: round trips of adapters and models through every format, on a tiny seeded model. */
async function files(): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'shadow-parity-'))
  try {
    const basePath = writeTinyModel(join(folder, 'base'))
    const exact = await exactTrips(basePath, join(folder, 'exact'))
    const moved = await logitTrips(new Runtime(), basePath, join(folder, 'logits'))
    const changed = exact.reduce((sum, trip) => sum + trip.changed, 0)
    const tensors = exact.reduce((sum, trip) => sum + trip.tensors, 0)
    const worst = Math.max(...moved.map(({ difference }) => difference))
    return [
      figure(
        'parity.files.tensors',
        `tensors that ${exact.length} round trips without arithmetic change, of ${tensors}: ${exact.map(({ name }) => name).join('; ')}`,
        changed,
        'tensors',
        { must: '0', ok: changed === 0 },
      ),
      figure(
        'parity.files.logits',
        `largest move of a logit by a trip with arithmetic: ${moved.map(({ name, difference }) => `${name} ${difference.toExponential(1)}`).join('; ')}`,
        worst,
        'absolute',
        { must: '≤ 1e-5', ok: worst <= 1e-5 },
      ),
    ]
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** parity.tokens: what transformers makes of conversations, under tokenizers and templates of every kind. */
async function tokens(): Promise<Row[]> {
  const conversations = readConversations()
  const found = differences(conversations)
  const { length: chats } = conversations.conversations
  const { length: cases } = conversations.cases
  return [
    figure(
      'parity.tokens',
      `${chats} conversations in ${cases} cases under ten pairs of a tokenizer and a template: ids, masks or refusals that differ from transformers`,
      found.length,
      'differ',
      { must: '0', ok: found.length === 0 },
    ),
  ]
}
