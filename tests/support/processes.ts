import { readdir, readFile } from 'node:fs/promises'

/** Process ids of the direct children, from /proc. */
export async function childrenOf(pid: number): Promise<number[]> {
  const children: number[] = []
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '')
    // The command's name may hold spaces and brackets; the parent is the second field behind it.
    const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (Number(parent) === pid) children.push(Number(name))
  }
  return children
}
