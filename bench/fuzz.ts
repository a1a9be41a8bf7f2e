/** fuzz.files: 100,000 hostile files, or as many as named, through every loader. */
import { fuzzFiles } from '../tests/fuzz/fuzz-files.ts'
import { figure, type Row } from './row.ts'

export async function run([count = '100000']: readonly string[]): Promise<Row[]> {
  const report = await fuzzFiles({ inputs: Number(count), firstSeed: 0, timeLimitMs: 3_600_000 })
  for (const { target, seed, problem } of report.findings) console.log(`${target}, seed ${seed}: ${problem}`)
  const wrong = report.findings.length
  return [
    figure(
      'fuzz.files',
      'crashes, hangs, untyped errors or oversized allocations: safetensors, GGUF, Hugging Face folders and tokenizers, adapters of PEFT, mlx-lm and llama.cpp',
      wrong,
      'inputs',
      { must: '0', ok: wrong === 0 && report.inputs >= 100_000 },
    ),
    figure('fuzz.files.inputs', 'hostile files', report.inputs, 'inputs'),
    figure('fuzz.files.refused', 'of them refused by file and field', report.refused, 'inputs'),
  ]
}
