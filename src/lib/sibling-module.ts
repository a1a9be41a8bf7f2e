/** Finding a module to start as a child process, in the clone (.ts) as in the built package (.js). */
import { fileURLToPath } from 'node:url'

/**
 * The path of a module beside the caller, with the caller's own file extension.
 * @param importMetaUrl the caller's `import.meta.url`
 * @param specifier relative, without an extension: `../serve/serve-child`
 */
export function siblingModule(importMetaUrl: string, specifier: string): string {
  const extension = importMetaUrl.endsWith('.ts') ? '.ts' : '.js'
  return fileURLToPath(new URL(`${specifier}${extension}`, importMetaUrl))
}
