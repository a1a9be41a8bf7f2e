import { Command } from 'commander'
import { checkStore } from '../../ops/check-store.ts'
import { doctor } from '../../ops/doctor.ts'
import { renderTable } from '../table.ts'

interface Options {
  upstream?: string
  store?: true
  json?: true
}

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('print what was found on this machine and what is wrong')
    .option('--upstream <url>', 'base URL of the frontier (or SHADOW_UPSTREAM)')
    .option('--store', 'verify everything that was stored, and change nothing')
    .option('--json', 'as JSON')
    .action(async (options: Options) => {
      const isWrong = await (options.store === true ? showStore(options) : showMachine(options))
      if (isWrong) process.exitCode = 1
    })
}

async function showMachine({ upstream, json }: Options): Promise<boolean> {
  const findings = await doctor(upstream ?? process.env['SHADOW_UPSTREAM'] ?? null)
  if (json === true) process.stdout.write(`${JSON.stringify(findings, null, 2)}\n`)
  else {
    const rows = findings.map(({ name, ok, found, hint }) => [ok ? 'ok' : 'wrong', name, found, hint ?? ''])
    process.stdout.write(renderTable(['', 'what', 'found', 'what to do'], rows))
  }
  return findings.some(({ ok }) => !ok)
}

async function showStore({ json }: Options): Promise<boolean> {
  const checks = await checkStore()
  if (json === true) process.stdout.write(`${JSON.stringify(checks, null, 2)}\n`)
  else {
    const rows = checks.map(({ name, checked, damaged, note }) => [
      damaged === 0 ? 'ok' : 'damaged',
      name,
      String(checked),
      damaged === 0 ? (note ?? '') : `${damaged} damaged`,
    ])
    process.stdout.write(renderTable(['', 'what', 'checked', ''], rows))
    for (const { damage, damaged } of checks) {
      for (const sentence of damage) process.stdout.write(`  ${sentence}\n`)
      if (damaged > damage.length) process.stdout.write(`  … and ${damaged - damage.length} more\n`)
    }
    if (checks.some(({ damaged }) => damaged > 0)) {
      process.stdout.write('Restore what is damaged from a backup; what is not damaged can still be read.\n')
    }
  }
  return checks.some(({ damaged }) => damaged > 0)
}
