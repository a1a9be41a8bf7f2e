/** Tables of pipeline.db: tasks, what was decided about them, and what was made for them. JSON columns hold contract nouns. */
import type { Generated } from 'kysely'

export interface PipelineSchema {
  tasks: { name: string; created_at: number; config: string }
  task_references: { task: string; kind: 'input' | 'messages'; match: string; answer: string }
  verdicts: { id: string; task: string; verdict: string }
  stages: {
    key: string
    task: string
    name: string
    finished_at: number
    took_ms: number
    output: string
  }
  stage_events: {
    id: Generated<number>
    run: string
    name: string
    key: string
    event: 'started' | 'finished' | 'reused'
    at: number
  }
  runs: {
    id: string
    task: string
    state: string
    stage: string
    pid: number
    started_at: number
    finished_at: number | null
    error: string | null
    version: string | null
    report_path: string | null
  }
  model_versions: {
    task: string
    number: number
    source_key: string
    base_model: string
    base_hash: string
    adapter_path: string
    adapter_hash: string
    serving_hash: string
    serve_policy: string
    created_at: number
    promoted: number
    sentence: string
    /** When calls that it was trained on were deleted. */
    source_deleted_at: number | null
    /** When its adapter was removed; it is kept so that its number isn't given out again. */
    retired_at: number | null
  }
  /** JSON by name. */
  settings: { name: string; value: string }
  deletions: {
    id: Generated<number>
    /** What was to go, as JSON; null once it has. */
    selection: string | null
    is_cascading: number
    requested_at: number
    finished_at: number | null
  }
  proxy_keys: {
    id: string
    name: string
    /** SHA-256 of the key, hex. */
    hash: string
    /** JSON list; null for all. */
    tasks: string | null
    created_at: number
    revoked_at: number | null
  }
  route_events: {
    id: Generated<number>
    task: string
    state: string
    version: string | null
    reason: string
    source_key: string | null
    at: number
  }
}
