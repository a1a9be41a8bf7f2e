import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Files of a home, the model cache left out, whose raw bytes hold a text. */
export async function filesWith(home: string, text: string): Promise<string[]> {
  const found: string[] = []
  for (const entry of await readdir(home, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    if ((await readFile(path)).includes(text)) found.push(path.slice(home.length + 1))
  }
  return found.toSorted()
}
