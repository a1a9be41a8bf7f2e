import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const engine = new URL('../../src/engine/', import.meta.url)

interface Export {
  readonly name: string
  readonly file: string
}

function publicExports(): Export[] {
  const index = readFileSync(new URL('index.ts', engine), 'utf8')
  return [...index.matchAll(/export (?:type )?\{([^}]*)\} from '\.\/([^']+)'/g)].flatMap(
    ([, names = '', file = '']) =>
      names
        .split(',')
        .map((name) => name.trim().replace(/^type /, ''))
        .filter((name) => name !== '')
        .map((name) => ({ name, file })),
  )
}

/** The places of a declaration and of its public members that have no docstring, by line. */
function withoutDocs({ name, file }: Export): string[] {
  const lines = readFileSync(new URL(file, engine), 'utf8').split('\n')
  const documented = (line: number): boolean => lines[line - 1]?.trim().endsWith('*/') === true
  const start = lines.findIndex((line) =>
    new RegExp(`^export (?:async )?(?:class|interface|type|function|const) ${name}\\b`).test(line),
  )
  if (start < 0) return [`${file}: no declaration of ${name}`]
  const found = documented(start) ? [] : [`${file}: ${name}`]
  if (!/\b(class|interface)\b/.test(lines[start] ?? '')) return found
  const end = lines.indexOf('}', start)
  for (let line = start + 1; line < end; line++) {
    const member = /^ {2}(?:readonly |static |get |async )*([A-Za-z][\w]*|\[Symbol\.\w+\])\??[(:<]/.exec(
      lines[line] ?? '',
    )
    const [, symbol] = member ?? []
    if (symbol === undefined || symbol === 'constructor' || documented(line)) continue
    found.push(`${file}: ${name}.${symbol}`)
  }
  return found
}

test('everything public has a docstring', () => {
  const all = publicExports()
  expect(all.length).toBeGreaterThan(80)
  expect(all.flatMap(withoutDocs)).toEqual([])
})

test('the names that importing gives', async () => {
  const [engineNames, packageNames] = await Promise.all(
    ['../../src/engine/index.ts', '../../src/sdk/index.ts'].map(async (path) =>
      Object.keys(await import(path)).toSorted(),
    ),
  )
  expect(engineNames).toMatchInlineSnapshot(`
    [
      "AdamW",
      "AdamW8bit",
      "ChatTemplate",
      "FullFineTuning",
      "GenerationScheduler",
      "GradientAccumulator",
      "LanguageModel",
      "LlamaForCausalLM",
      "LoraAdapter",
      "Reply",
      "Runtime",
      "ShadowError",
      "Tensor",
      "Tokenizer",
      "buildTree",
      "chatTemplateOf",
      "chooseLayout",
      "clipScale",
      "commonPrefix",
      "createModel",
      "describe",
      "encodeSafetensors",
      "findModel",
      "fit",
      "globalNorm",
      "gradientProblem",
      "layoutDeviation",
      "listModels",
      "load",
      "loadLora",
      "loadModel",
      "loadText",
      "lossAndGradients",
      "modelTypes",
      "modelsFolder",
      "openSafetensors",
      "pack",
      "parseTokenizer",
      "parseToolCalls",
      "partitionIntoTrees",
      "passesOf",
      "prefixOrder",
      "pulledFolder",
      "readAdapterFolder",
      "saveFullModel",
      "saveLora",
      "takeOptimizerStep",
      "targetLogProbabilities",
    ]
  `)
  expect(packageNames).toMatchInlineSnapshot(`
    [
      "ShadowError",
      "changeRoute",
      "createApi",
      "deleteCaptured",
      "deleteTraining",
      "exportCalls",
      "exportTarget",
      "findBaseModel",
      "importCalls",
      "importReferences",
      "inspectCheckpoints",
      "listCalls",
      "listModels",
      "listSessions",
      "listTasks",
      "listTrainings",
      "newestVersion",
      "openWorkspace",
      "planDeletion",
      "planRun",
      "pullModel",
      "removeModel",
      "requestBytes",
      "routeHistory",
      "run",
      "serve",
      "setTask",
      "showCall",
      "showSession",
      "showTask",
      "trainRows",
    ]
  `)
})
