import { Command } from 'commander'
import { doctor } from '../../ops/doctor.ts'
import { renderTable } from '../table.ts'

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('print what was found on this machine and what is wrong')
    .option('--upstream <url>', 'base URL of the frontier (or SHADOW_UPSTREAM)')
    .action(async (options: { upstream?: string }) => {
      const findings = await doctor(options.upstream ?? process.env['SHADOW_UPSTREAM'] ?? null)
      const rows = findings.map(({ name, ok, found, hint }) => [ok ? 'ok' : 'wrong', name, found, hint ?? ''])
      process.stdout.write(renderTable(['', 'what', 'found', 'what to do'], rows))
      if (findings.some((finding) => !finding.ok)) process.exitCode = 1
    })
}
