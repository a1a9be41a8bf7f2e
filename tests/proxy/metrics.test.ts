import { expect, test } from 'vitest'
import { startProxy } from '../support/proxy.ts'

test('metrics are in Prometheus’ format, and count what happened', async () => {
  await using shadow = await startProxy()
  const { client } = shadow
  for (let index = 0; index < 3; index++) {
    await client().chat.completions.create({ model: 'm', messages: [{ role: 'user', content: `${index}` }] })
  }
  await fetch(`${shadow.origin}/v1/else`, { method: 'POST', body: '{"messages":[]}' }).then((reply) =>
    reply.text(),
  )
  const reply = await fetch(`${shadow.origin}/metrics`)
  expect(reply.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  const lines = (await reply.text()).trimEnd().split('\n')
  const sample = /^[a-z_]+(?:\{le="(?:[0-9.]+|\+Inf)"\})? [0-9.e+-]+$/
  for (const line of lines)
    expect(line).toMatch(line.startsWith('#') ? /^# (?:HELP|TYPE) [a-z_]+ .+$/ : sample)
  const values = new Map(
    lines
      .filter((line) => !line.startsWith('#'))
      .map((line) => [line.split(' ')[0], Number(line.split(' ')[1])]),
  )
  expect(values.get('shadow_calls_captured_total')).toBe(3)
  expect(values.get('shadow_requests_passed_through_total')).toBe(1)
  expect(values.get('shadow_request_duration_seconds_count')).toBe(4)
  expect(values.get('shadow_request_duration_seconds_bucket{le="+Inf"}')).toBe(4)
  expect(values.get('process_resident_memory_bytes')).toBeGreaterThan(1e6)
})
