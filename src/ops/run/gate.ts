/** Gate: promote or refuse, in one sentence. */
import { decide } from '../../../judge/gate.ts'
import { type GateDecision, gateDecision } from '../../contract/evaluation.ts'
import { type EvaluateOutput, readEvaluated } from './evaluate.ts'
import type { RunContext } from './run-context.ts'
import type { StageResult, StageRunner } from './stage.ts'

export async function gate(
  context: RunContext,
  stages: StageRunner,
  evaluated: StageResult<EvaluateOutput>,
): Promise<StageResult<GateDecision>> {
  const { config } = context.task
  const judgeEndpoint =
    config.judge === null ? null : { baseUrl: config.judge.baseUrl, model: config.judge.model }
  return await stages.run({
    name: 'gate',
    inputs: { evaluated: evaluated.key, policy: config.gate, judge: judgeEndpoint },
    output: gateDecision,
    async run() {
      return decide(await readEvaluated(evaluated), config.gate, {
        judgeEndpoint,
        gateSource: { kind: 'scorer', scorer: config.scorer },
      })
    },
    facts: (decision) => ({ verdict: decision.promote ? 'promote' : 'refuse' }),
  })
}
