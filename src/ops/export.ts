/** A model version, an adapter or a base model, written in the format of another tool. */
import { readdirSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type ExportFormat, exportModel } from '../engine/io/export.ts'
import { isAdapterFolder, resolveTarget } from './models.ts'
import type { Workspace } from './workspace.ts'

export { exportFormats, exportTypes } from '../engine/io/export.ts'

export interface ExportOptions {
  /** `X@3`, `owned/X@3`, an adapter's folder or a base model. */
  target: string
  format: ExportFormat
  outFolder: string
  /** Instead of the one that the adapter names. */
  base?: string | undefined
  /** Type of the weights of merged models. */
  type?: string | undefined
  /** Told what the export does that one might not expect. */
  onNote?: (text: string) => void
}

/** @returns the files written, by absolute path, with their bytes. @throws ShadowError */
export async function exportTarget(
  workspace: Workspace,
  { target, format, outFolder, base, type, onNote }: ExportOptions,
): Promise<{ path: string; bytes: number }[]> {
  // A folder's adapter alone can be written without its base being here.
  const alone = isAdapterFolder(target) && (format === 'peft' || format === 'mlx-lm')
  const { basePath, adapterFolder } = alone
    ? { basePath: null, adapterFolder: target }
    : await resolveTarget(workspace, target, base)
  await exportModel({
    basePath,
    adapterFolder,
    format,
    outFolder,
    ...(type !== undefined && { type }),
    ...(onNote !== undefined && { onNote }),
  })
  return readdirSync(outFolder)
    .toSorted()
    .map((name) => resolve(join(outFolder, name)))
    .map((path) => ({ path, bytes: statSync(path).size }))
}
