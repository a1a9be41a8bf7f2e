/** `shadow references import`. */
import { readFile } from 'node:fs/promises'
import { type Reference, reference, taskConfig } from '../contract/task.ts'
import { messageOf, ShadowError } from '../lib/error.ts'
import type { Workspace } from './workspace.ts'

/**
 * Reads a JSONL file of references into a task, creating the task where it is new. All lines or none.
 * @throws ShadowError invalid_file naming the line
 */
export async function importReferences(
  workspace: Workspace,
  task: string,
  file: string,
): Promise<{ read: number; total: number }> {
  const references = parse(file, await read(file))
  if ((await workspace.pipeline.tasks.find(task)) === null) {
    await workspace.pipeline.tasks.save(task, taskConfig.parse({}))
  }
  await workspace.pipeline.references.import(task, references)
  return { read: references.length, total: await workspace.pipeline.references.count(task) }
}

async function read(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).replace(/^\uFEFF/, '')
  } catch (cause) {
    throw new ShadowError('invalid_file', `Can't read ${file}: ${messageOf(cause)}.`, { cause })
  }
}

function parse(file: string, text: string): Reference[] {
  return text.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return []
    try {
      return [reference.parse(JSON.parse(line))]
    } catch (cause) {
      throw new ShadowError('invalid_file', `${file}, line ${index + 1} is no reference.`, {
        hint: 'A line is {"input": "last user message", "answer": "…"} or {"messages": […], "answer": "…"}.',
        cause,
      })
    }
  })
}
