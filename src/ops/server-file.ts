/** server.json: how other commands find the server that runs in this home, and prove that they may steer it. */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { writeFileAtomically } from '../lib/files.ts'

export const serverRecord = z.object({
  pid: z.number().int().positive(),
  /** `http://127.0.0.1:8327` */
  url: z.string(),
  /** Sent as a bearer token to the server's own API. */
  token: z.string(),
})
export type ServerRecord = z.infer<typeof serverRecord>

const fileName = 'server.json'

export async function writeServerFile(home: string, record: ServerRecord): Promise<void> {
  await writeFileAtomically(join(home, fileName), JSON.stringify(record))
}

export async function removeServerFile(home: string): Promise<void> {
  await rm(join(home, fileName), { force: true })
}

/** The running server of this home; null when there is none, or only what a killed one left behind. */
export async function findServer(home: string): Promise<ServerRecord | null> {
  let text: string
  try {
    text = await readFile(join(home, fileName), 'utf8')
  } catch {
    return null
  }
  const parsed = serverRecord.safeParse(JSON.parse(text))
  return parsed.success && isAlive(parsed.data.pid) ? parsed.data : null
}

/** Whether a process of this number exists. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
