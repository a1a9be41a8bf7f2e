/** Keys to the proxy, for hosts other than the loopback. */
import { callerOf, keyPrefix } from '../../proxy/proxy.ts'
import { taskName } from '../contract/task.ts'
import { ShadowError } from '../lib/error.ts'
import type { ProxyKey } from '../store/pipeline/keys.ts'
import type { Workspace } from './workspace.ts'

/**
 * @param tasks the tasks that the key is for; none for all
 * @throws ShadowError invalid_config for a name that no task can have; conflict for a name in use
 */
export async function createKey(
  { pipeline }: Workspace,
  name: string,
  tasks: readonly string[],
): Promise<{ key: ProxyKey; secret: string }> {
  const wrong = tasks.find((task) => !taskName.safeParse(task).success)
  if (wrong !== undefined) {
    throw new ShadowError('invalid_config', `"${wrong}" can't be a task.`, {
      hint: 'Use 1 to 64 of a-z, 0-9, ".", "_" and "-", starting with a letter or digit.',
    })
  }
  const known = await pipeline.keys.list()
  if (known.some((key) => key.revokedAt === null && (key.name === name || key.id === name))) {
    throw new ShadowError('conflict', `There is a key "${name}" already.`, {
      hint: `Choose another name, or revoke that one with \`shadow keys revoke ${name}\`.`,
    })
  }
  return await pipeline.keys.create(keyPrefix, name, tasks.length === 0 ? null : tasks)
}

export async function listKeys({ pipeline }: Workspace): Promise<ProxyKey[]> {
  return await pipeline.keys.list()
}

/** @throws ShadowError not_found */
export async function revokeKey({ pipeline }: Workspace, idOrName: string): Promise<void> {
  if (await pipeline.keys.revoke(idOrName)) return
  throw new ShadowError('not_found', `There is no key "${idOrName}" that could be revoked.`, {
    hint: '`shadow keys list` shows the keys there are.',
  })
}

/** What calls that came with a key are stored under: a name or id of Shadow's own, or an agent's API key as it sends it. */
export async function credentialsOf({ pipeline }: Workspace, key: string): Promise<string[]> {
  const own = (await pipeline.keys.list()).filter(({ id, name }) => id === key || name === key)
  return own.length > 0 ? own.map(({ id }) => callerOf(id)) : [key, `Bearer ${key}`]
}
