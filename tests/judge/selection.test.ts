import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { noJudge } from '../../judge/plan.ts'
import { type SelectionInput, selectRows } from '../../judge/selection.ts'
import {
  type ChatMessage,
  type Group,
  type Trajectory,
  textOf,
  type Verdict,
} from '../../src/contract/index.ts'

/**
 * A conversation is a list of texts, user and assistant in turn. Its nodes are named after the path, as canonical
 * nodes are: equal paths, equal nodes.
 */
function trajectoryOf(session: string, texts: readonly string[]): Trajectory {
  const messages = texts.map(
    (content, index): ChatMessage => ({ role: index % 2 === 0 ? 'user' : 'assistant', content }),
  )
  const node = (end: number): string => texts.slice(0, end).join('/')
  const turns = texts.flatMap((_, index) =>
    index % 2 === 0
      ? []
      : [{ index, call: `${session}:${index}`, promptNode: node(index), replyNode: node(index + 1) }],
  )
  return { session, leaf: node(texts.length), messages, tools: [], turns }
}

/** Groups as the store would give them: siblings in the order of capture. */
function groupsOf(trajectories: readonly Trajectory[]): Group[] {
  const groups = new Map<string, Group>()
  for (const { messages, turns } of trajectories) {
    for (const { index, call, promptNode, replyNode } of turns) {
      const group = groups.get(promptNode) ?? {
        promptNode,
        messages: messages.slice(0, index),
        tools: [],
        members: [],
      }
      const member = group.members.find((one) => one.replyNode === replyNode)
      const message = messages[index] ?? { role: 'assistant' as const }
      if (member === undefined) group.members.push({ replyNode, message, calls: [call] })
      else member.calls.push(call)
      groups.set(promptNode, group)
    }
  }
  return [...groups.values()]
}

function verdictOf(promptNode: string, scores: Record<string, number>, judge = 'judge'): Verdict {
  const empty = { orderShown: [], rawReply: null, usage: null, tookMs: 0 }
  return { ...empty, id: promptNode, task: 't', rubricHash: '', kind: 'listwise', promptNode, judge, scores }
}

/** Scores replies by the number their text ends in. */
function select(paths: string[][], more: Partial<SelectionInput> = {}) {
  const trajectories = paths.map((texts, index) => trajectoryOf(`s${index}`, texts))
  const groups = groupsOf(trajectories)
  const verdicts = groups.map(({ promptNode, members }) =>
    verdictOf(
      promptNode,
      Object.fromEntries(
        members.map(({ replyNode }) => [replyNode, Number(/[\d.]+$/.exec(replyNode)?.[0] ?? 0)]),
      ),
    ),
  )
  return selectRows({ trajectories, groups, verdicts, threshold: 0.5, untrainable: () => null, ...more })
}

const shown = ({ rows }: ReturnType<typeof select>) =>
  rows.map(({ messages, loss }) =>
    messages.map((message, index) => `${(loss[index] ?? 0) > 0 ? '*' : ''}${textOf(message)}`),
  )

describe('what carries loss', () => {
  it('is the winner of its group that reaches the threshold', () => {
    const selection = select([
      ['q', 'a 0.6'],
      ['q', 'b 0.9'],
      ['p', 'c 0.4'],
    ])
    expect(shown(selection)).toEqual([['q', '*b 0.9']])
    expect(selection.counts).toMatchObject({ kept: 1, lostGroup: 1, belowThreshold: 1, rows: 1 })
  })

  it('is the first captured on a tie', () => {
    expect(
      shown(
        select([
          ['q', 'z 0.8'],
          ['q', 'b 0.8'],
        ]),
      ),
    ).toEqual([['q', '*z 0.8']])
  })

  it('leaves a losing turn as context of what came after it', () => {
    const selection = select([
      ['q', 'a 0.9'],
      ['q', 'b 0.2', 'and?', 'c 0.7', 'thanks', 'd 0.1'],
    ])
    expect(shown(selection)).toEqual([
      ['q', '*a 0.9'],
      ['q', 'b 0.2', 'and?', '*c 0.7'],
    ])
    // The row ends where its loss ends, and is named after that node.
    expect(selection.rows[1]?.leaf).toBe('q/b 0.2/and?/c 0.7')
  })

  it('is in one row only where paths share it', () => {
    const selection = select([
      ['q', 'a 1'],
      ['q', 'a 1', 'x', 'b 1'],
      ['q', 'a 1', 'y', 'c 1'],
      ['q', 'a 1', 'x', 'b 1'],
    ])
    expect(shown(selection)).toEqual([
      ['q', '*a 1', 'x', '*b 1'],
      ['q', 'a 1', 'y', '*c 1'],
    ])
    expect(selection.counts).toMatchObject({ kept: 3, duplicates: 4, rows: 2 })
  })

  it('is never a reply that may not be learnt from, which keeps no other out either', () => {
    const untrainable: SelectionInput['untrainable'] = (call) => (call === 's0:1' ? 'length' : null)
    const selection = select(
      [
        ['q', 'a 1'],
        ['q', 'b 0.6'],
      ],
      { untrainable },
    )
    expect(shown(selection)).toEqual([['q', '*b 0.6']])
    expect(selection.counts).toMatchObject({ untrainable: 1, kept: 1 })
  })

  it('may be a reply that was cut once and complete another time', () => {
    const untrainable: SelectionInput['untrainable'] = (call) => (call === 's0:1' ? 'truncated' : null)
    expect(
      shown(
        select(
          [
            ['q', 'a 1'],
            ['q', 'a 1'],
          ],
          { untrainable },
        ),
      ),
    ).toEqual([['q', '*a 1']])
  })

  it('is every reply where nobody judged', () => {
    const verdicts = [verdictOf('q', { 'q/a': 1, 'q/b': 1 }, noJudge)]
    expect(
      shown(
        select(
          [
            ['q', 'a'],
            ['q', 'b'],
          ],
          { verdicts },
        ),
      ),
    ).toEqual([
      ['q', '*a'],
      ['q', '*b'],
    ])
  })

  it('is not a reply that nobody scored', () => {
    const selection = select([['q', 'a 1']], { verdicts: [] })
    expect(selection).toMatchObject({ rows: [], counts: { unjudged: 1, kept: 0 } })
  })

  it('is decided by the mean of repeated verdicts', () => {
    const verdicts = [verdictOf('q', { 'q/a': 1, 'q/b': 0.8 }), verdictOf('q', { 'q/a': 0.2, 'q/b': 0.8 })]
    expect(
      shown(
        select(
          [
            ['q', 'a'],
            ['q', 'b'],
          ],
          { verdicts },
        ),
      ),
    ).toEqual([['q', '*b']])
  })
})

describe('rows', () => {
  const step = fc.tuple(fc.constantFrom('x', 'y'), fc.constantFrom('a 0', 'b 0.4', 'c 0.6', 'd 1'))
  const path = fc.array(step, { minLength: 1, maxLength: 3 }).map((steps) => steps.flat())

  it('carry each kept reply exactly once, and nothing else', () => {
    fc.assert(
      fc.property(fc.array(path, { minLength: 1, maxLength: 12 }), (paths) => {
        const { rows, counts } = select(paths)
        const carried = rows.flatMap(({ messages, loss }) =>
          loss.flatMap((weight, index) =>
            weight > 0
              ? [
                  messages
                    .slice(0, index + 1)
                    .map(textOf)
                    .join('/'),
                ]
              : [],
          ),
        )
        expect(new Set(carried).size).toBe(carried.length)
        expect(carried.length).toBe(counts.kept)
        for (const node of carried) expect(Number(/[\d.]+$/.exec(node)?.[0])).toBeGreaterThanOrEqual(0.5)
        for (const { loss, messages } of rows) {
          expect(loss).toHaveLength(messages.length)
          expect(loss.at(-1)).toBe(1)
        }
      }),
    )
  })

  it('do not depend on the order in which trajectories are read', () => {
    fc.assert(
      fc.property(fc.array(path, { minLength: 1, maxLength: 8 }), (paths) => {
        const trajectories = paths.map((texts, index) => trajectoryOf(`s${index}`, texts))
        const groups = groupsOf(trajectories)
        const rows = select(paths).rows
        expect(select(paths, { trajectories: trajectories.toReversed(), groups }).rows).toEqual(rows)
      }),
    )
  })
})
