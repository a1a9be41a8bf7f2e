/** How near the engine and its files are to the reference implementations and to themselves. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Runtime } from '../src/engine/index.ts'
import { differences, readConversations } from '../tests/engine/conversations.ts'
import { familyDistances, readFamilies } from '../tests/engine/families-fixture.ts'
import { accumulationDistance, torchDistances } from '../tests/engine/optim-distances.ts'
import { layoutDistances } from '../tests/engine/random-tries.ts'
import { exactTrips, logitTrips } from '../tests/engine/round-trips.ts'
import { sftLosses, worstLoss } from '../tests/engine/sft-losses.ts'
import { writeTinyModel } from '../tests/support/tiny-model.ts'
import { figure, type Row } from './row.ts'

const parts: Readonly<Record<string, () => Row[] | Promise<Row[]>>> = {
  models,
  files,
  tokens,
  optim,
  tree,
  sft,
}

/** @param args names of parts; none: all */
export async function run(args: readonly string[]): Promise<Row[]> {
  const rows: Row[] = []
  for (const [name, part] of Object.entries(parts))
    if (args.length === 0 || args.includes(name)) rows.push(...(await part()))
  return rows
}

/** parity.optim: AdamW against torch, accumulated passes against one. */
function optim(): Row[] {
  const runtime = new Runtime()
  const steps = torchDistances(runtime)
  const apart = Math.max(...steps.map(({ parameters }) => parameters))
  const accumulated = accumulationDistance(runtime)
  return [
    figure(
      'parity.optim.adamw',
      `largest difference of a parameter from torch.optim.AdamW's after steps ${steps.map(({ step }) => step).join(', ')}, with clipping and a linear schedule`,
      apart,
      'absolute',
      { must: '≤ 1e-6', ok: apart <= 1e-6 },
    ),
    figure(
      'parity.optim.accumulation',
      'largest difference of loss, norm and gradients between eight passes of one row and one pass of eight, 3 to 59 tokens long',
      accumulated,
      'relative',
      { must: '≤ 1e-5', ok: accumulated <= 1e-5 },
    ),
  ]
}

/** parity.tree: the tree, and rows packed end to end, against the padded batch. */
function tree(): Row[] {
  const tries = 200
  const worst = layoutDistances(new Runtime(), tries)
  const row = (id: string, what: string, distance: number): Row =>
    figure(
      id,
      `largest difference of the loss and of any gradient between ${what} and the padded batch over ${tries} random tries, f32`,
      distance,
      'relative',
      { must: '≤ 1e-5', ok: distance <= 1e-5 },
    )
  return [row('parity.tree', 'the tree', worst.tree), row('parity.packed', 'packed rows', worst.packed)]
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

/** parity.models: every family in tiny seeded configurations against transformers and PEFT. */
function models(): Row[] {
  const runtime = new Runtime()
  const families = readFamilies()
  const found = families.map(([, family]) => familyDistances(runtime, family))
  const types = [...new Set(families.map(([, { config }]) => config.model_type))].join(', ')
  const logits = Math.max(...found.map((distances) => distances.logits))
  const gradients = Math.max(...found.map(({ factors, parameters }) => Math.max(factors, parameters)))
  return [
    figure(
      'parity.models.logits',
      `largest difference of a logit from transformers, ${families.length} configurations of ${types}`,
      logits,
      'absolute',
      { must: '≤ 1e-4', ok: logits <= 1e-4 },
    ),
    figure(
      'parity.models.gradients',
      'largest difference of a gradient from torch: every parameter of the models, and every LoRA factor',
      gradients,
      'relative',
      { must: '≤ 1e-4', ok: gradients <= 1e-4 },
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
