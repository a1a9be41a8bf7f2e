/** server.json: how other commands find the server that runs in this home, and prove that they may steer it. */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { ShadowClient } from '../client/client.ts'
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

/**
 * The running server of this home; null when there is none, or only what a killed one left behind. It is asked,
 * since its process number may be another's by now.
 */
export async function findServer(home: string): Promise<ServerRecord | null> {
  const record = await readRecord(home)
  return record !== null && (await new ShadowClient(record).answers()) ? record : null
}

async function readRecord(home: string): Promise<ServerRecord | null> {
  try {
    return serverRecord.parse(JSON.parse(await readFile(join(home, fileName), 'utf8')))
  } catch {
    return null
  }
}
