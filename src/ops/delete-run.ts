import { ShadowError } from '../lib/error.ts'
import type { Workspace } from './workspace.ts'

/**
 * Forgets a run. What its stages made stays: later runs and model versions may stand on it.
 * @throws ShadowError not_found | busy while it runs
 */
export async function deleteRun({ pipeline }: Workspace, id: string): Promise<void> {
  const run = await pipeline.runs.find(id)
  if (run === null)
    throw new ShadowError('not_found', `There is no run ${id}.`, { hint: '`shadow runs` lists them.' })
  if (run.state === 'running')
    throw new ShadowError('busy', `Run ${id} is under way.`, { hint: 'Stop it first, with Ctrl-C.' })
  await pipeline.runs.delete(id)
}
