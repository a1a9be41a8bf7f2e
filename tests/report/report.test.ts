import { createHash } from 'node:crypto'
import { Script } from 'node:vm'
import { beforeAll, describe, expect, it } from 'vitest'
import { answerSections } from '../../src/ops/report/answers.ts'
import { chartData } from '../../src/ops/report/chart.ts'
import { formatDuration, formatPoints, visible } from '../../src/ops/report/format.ts'
import { renderHtml } from '../../src/ops/report/html.ts'
import { renderMarkdown } from '../../src/ops/report/markdown.ts'
import { runReport } from '../../src/ops/report/report.ts'
import { sampleReport } from '../support/report.ts'

const hostile = [
  '</script><script>alert(1)</script>',
  '<img src=x onerror="alert(2)">',
  `" onmouseover='alert(3)'`,
  '</pre></details><!--',
  'null\u0000byte and \u001b[31m and \u202ereversed and half a pair \ud800',
  '````\n# heading\n| a | b |\n&lt;b&gt; ${alert(4)} &amp;',
].join('\n')

describe('the page', () => {
  let page = ''
  beforeAll(async () => {
    page = await renderHtml(runReport.parse(await sampleReport()))
  })

  it('begins with the verdict and holds the figures', () => {
    const text = page.slice(page.indexOf('<body>')).replace(/<[^>]+>/g, ' ')
    expect(text.indexOf('Promoted')).toBeLessThan(text.indexOf('Owned'))
    for (const figure of [
      '97.7\u00a0%',
      '88.3\u00a0%',
      '+9.3 points',
      '118 of 124',
      '48,210',
      'reused',
      '12 min 0 s',
    ]) {
      expect(text).toContain(figure)
    }
    expect(text).toContain('The task has one judge')
  })

  it('asks the network for nothing, and allows its own script only', () => {
    const markup = page.replace(/<script>.*?<\/script>/gs, '')
    expect(markup).not.toMatch(/\ssrc=|\shref=|url\(|@import|<link|<iframe/i)
    const policy = /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(page)?.[1] ?? ''
    expect(policy).toContain('default-src &#39;none&#39;')
    const script = /<script>(.*?)<\/script>/s.exec(page)?.[1] ?? ''
    expect(policy).toContain(createHash('sha256').update(script).digest('base64'))
    // It is a script that parses, with uPlot in it.
    expect(() => new Script(script)).not.toThrow()
    expect(script).toContain('uPlot=function')
  })

  it('is told apart when refused, and stands without a training and without a call', async () => {
    const refused = await renderHtml(await sampleReport({ ownedWrongEach: 2, calls: 60 }))
    expect(refused).toContain('<h1>Refused</h1>')
    const empty = await renderHtml({
      ...(await sampleReport({ calls: 0, steps: 0 })),
      version: null,
      stages: [],
      notes: [],
    })
    expect(empty).toContain('Nothing was trained in this run.')
    expect(empty).toContain('No call was held out.')
    expect(empty).not.toContain('<script')
  })
})

describe('texts from outside', () => {
  it('cannot leave their place in the page', async () => {
    const page = await renderHtml({ ...(await sampleReport({ hostile })), task: hostile, version: hostile })
    expect(page.match(/<script/g)).toHaveLength(2)
    expect(page.match(/<\/script>/g)).toHaveLength(2)
    expect(page).not.toContain('<img')
    expect(page).not.toContain('<!--')
    expect(page).not.toContain('" onmouseover')
    expect(page).toContain('&lt;/script&gt;&lt;script&gt;alert(1)')
    for (const hidden of ['\u0000', '\u001b', '\u202e']) expect(page).not.toContain(hidden)
    expect(page.isWellFormed()).toBe(true)
    expect(page).toContain('null␀byte')
    const opened = page.match(/<details>/g)?.length ?? 0
    expect(opened).toBeGreaterThan(0)
    expect(page.match(/<\/details>/g)).toHaveLength(opened)
  })

  it('cannot leave their fence in the Markdown', async () => {
    const markdown = renderMarkdown({ ...(await sampleReport({ hostile })), notes: [hostile], task: hostile })
    const outside = withoutFences(markdown)
    expect(outside).not.toMatch(/<(script|img|!--)/)
    expect(outside.match(/^# /gm)).toHaveLength(1)
    expect(markdown).toContain('`````text\n')
    for (const hidden of ['\u0000', '\u001b', '\u202e']) expect(markdown).not.toContain(hidden)
  })
})

/** What a Markdown reader would not take for code. */
function withoutFences(markdown: string): string {
  const lines: string[] = []
  let fence: string | null = null
  for (const line of markdown.split('\n')) {
    const run = /^`{3,}/.exec(line)?.[0]
    if (fence === null && run !== undefined) fence = run
    else if (fence !== null && run !== undefined && line === run && run.length >= fence.length) fence = null
    else if (fence === null) lines.push(line)
  }
  expect(fence).toBeNull()
  return lines.join('\n')
}

describe('the Markdown', () => {
  it('holds the verdict, the table and the stages', async () => {
    const markdown = renderMarkdown(await sampleReport())
    expect(markdown).toMatch(/^# Promoted: owned\/support-desk@1\n/)
    expect(markdown).toContain('| Owned | owned/support-desk@1 | 97.7\u00a0% |')
    expect(markdown).toContain('| group | reused | groups 640, with several replies 171 |')
  })
})

describe('the answers shown', () => {
  it('are all in one section each, failures first, and no more than asked for', async () => {
    const { rows } = await sampleReport({ ownedWrongEach: 3 })
    const sections = answerSections(rows, { failures: 10, others: 2 })
    expect(sections.reduce((sum, { total }) => sum + total, 0)).toBe(rows.length)
    expect(sections[0]?.rows).toHaveLength(10)
    expect(sections.at(-1)?.rows).toHaveLength(2)
    expect(sections[0]?.rows.every(({ scores }) => scores.owned < scores.frontier)).toBe(true)
  })
})

describe('the loss curve', () => {
  it('is thinned without losing its end, and never closes its script', async () => {
    const { metrics } = await sampleReport({ calls: 0, steps: 5_001 })
    const [steps, losses, smoothed]: number[][] = JSON.parse(chartData(metrics))
    expect(steps?.length).toBeLessThanOrEqual(2_001)
    expect(steps?.at(-1)).toBe(5_001)
    expect([losses?.length, smoothed?.length]).toEqual([steps?.length, steps?.length])
    expect(smoothed?.[0]).toBeCloseTo(losses?.[0] ?? 0, 5)
  })
})

describe('formats', () => {
  it.each([
    [12, '12 ms'],
    [2_340, '2.3 s'],
    [3_599_600, '1 h 0 min'],
    [59_990, '60.0 s'],
  ])('%d ms are %s', (ms, text) => expect(formatDuration(ms)).toBe(text))

  it('tell a difference with its sign', () => {
    expect([0.0312, -0.004, 0.0001].map(formatPoints)).toEqual(['+3.1', '−0.4', '±0.0'])
  })

  it('make what can’t be seen visible', () => {
    expect(visible('a\r\nb\tc\u0000\ud800')).toBe('a\nb\tc␀\ufffd')
  })
})
