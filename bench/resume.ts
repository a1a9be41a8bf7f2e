/**
 * train.resume: kill −9 at random moments of a training, then the training again; how many adapters are byte-identical
 * to the undisturbed one's.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { toJsonLines } from '../src/lib/files.ts'
import { seededRandom } from '../src/lib/random.ts'
import { defaultModelPath } from '../src/setup/model.mjs'
import { adapterHash, jobIn, killedOnce, runChild } from '../tests/support/kill-training.ts'
import { writeTinyModel } from '../tests/support/tiny-model.ts'
import { conversations } from '../tests/trainers/tiny-training.ts'
import { figure, type Row } from './row.ts'

interface Subject {
  name: string
  modelPath: string
  steps: number
  /** A kill comes up to this long after a step's report. */
  spreadMs: number
}

/** @param args `tiny` or `default` for one of the two models, and the number of kills; both and 20 where left out */
export async function run(args: readonly string[]): Promise<Row[]> {
  const trials = Number(args.find((arg) => /^\d+$/.test(arg)) ?? 20)
  const folder = mkdtempSync(join(tmpdir(), 'shadow-resume-'))
  try {
    const subjects: Subject[] = [
      { name: 'tiny', modelPath: writeTinyModel(folder), steps: 60, spreadMs: 40 },
      { name: 'default', modelPath: defaultModelPath(), steps: 6, spreadMs: 1_500 },
    ]
    const chosen = subjects.filter(({ name }) => args.includes(name))
    const rows: Row[] = []
    for (const subject of chosen.length > 0 ? chosen : subjects)
      rows.push(await measure(subject, folder, trials))
    return rows
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function measure(
  { name, modelPath, steps, spreadMs }: Subject,
  root: string,
  trials: number,
): Promise<Row> {
  const datasetPath = join(root, 'rows.jsonl')
  writeFileSync(datasetPath, toJsonLines(conversations(20)))
  const job = (trial: string): ReturnType<typeof jobIn> => {
    const folder = join(root, `${name}-${trial}`)
    mkdirSync(folder)
    return jobIn(
      { modelPath, datasetPath, folder },
      {
        max_steps: steps,
        per_device_train_batch_size: 2,
        lora_dropout: 0.1,
        eval_dataset: 'auto',
        optim: 'adamw_torch',
      },
    )
  }
  const undisturbed = job('undisturbed')
  await runChild(undisturbed)
  const hash = await adapterHash(undisturbed)
  const random = seededRandom(trials)
  let same = 0
  for (let trial = 0, attempt = 0; trial < trials; attempt++) {
    const kill = { step: 1 + Math.floor(random() * (steps - 1)), afterMs: random() * spreadMs }
    const killed = job(`${attempt}`)
    const end = await killedOnce(killed, kill)
    rmSync(join(killed.workFolder, '..'), { recursive: true, force: true })
    // It had ended before the signal came: no kill.
    if (!end.killed) continue
    trial += 1
    if (end.hash === hash) same += 1
    console.log(
      `${name}: killed ${Math.round(kill.afterMs)} ms after step ${kill.step}, went on from ${end.resumedFrom}`,
    )
  }
  return figure(
    `train.resume.${name}`,
    `adapters byte-identical after kill −9 at a random moment of ${steps} steps and resumption (${name} model, dropout, evaluation)`,
    same,
    'adapters',
    { must: `${trials} of ${trials}`, ok: same === trials },
  )
}
