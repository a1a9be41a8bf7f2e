/** pipeline.db: one repository a table, handed out together. */
import { join } from 'node:path'
import { openDatabase, scrubFile } from '../database.ts'
import { DeletionRepository } from './deletions.ts'
import { KeyRepository } from './keys.ts'
import { pipelineMigrations } from './migrations.ts'
import { ReferenceRepository } from './references.ts'
import { RouteRepository } from './routes.ts'
import { RunRepository } from './runs.ts'
import type { PipelineSchema } from './schema.ts'
import { SettingRepository } from './settings.ts'
import { StageRepository } from './stages.ts'
import { TaskRepository } from './tasks.ts'
import { VerdictRepository } from './verdicts.ts'
import { VersionRepository } from './versions.ts'

export interface PipelineStore {
  readonly tasks: TaskRepository
  readonly references: ReferenceRepository
  readonly verdicts: VerdictRepository
  readonly stages: StageRepository
  readonly runs: RunRepository
  readonly versions: VersionRepository
  readonly routes: RouteRepository
  readonly keys: KeyRepository
  readonly deletions: DeletionRepository
  readonly settings: SettingRepository
  /** Grows whenever another connection has committed; cheap enough to ask often. */
  dataVersion(): number
  /** Gives free pages back and empties the write-ahead log; false where another process reads old pages. */
  scrub(): boolean
  close(): Promise<void>
}

/** @throws ShadowError store_failed */
export async function openPipelineStore(home: string): Promise<PipelineStore> {
  const { db, sqlite, close } = await openDatabase<PipelineSchema>(
    join(home, 'pipeline.db'),
    pipelineMigrations,
  )
  return {
    tasks: new TaskRepository(db),
    references: new ReferenceRepository(db),
    verdicts: new VerdictRepository(db),
    stages: new StageRepository(db),
    runs: new RunRepository(db),
    versions: new VersionRepository(db),
    routes: new RouteRepository(db),
    keys: new KeyRepository(db),
    deletions: new DeletionRepository(db),
    settings: new SettingRepository(db),
    dataVersion: () => Number(sqlite.pragma('data_version', { simple: true })),
    scrub: () => scrubFile(sqlite),
    close,
  }
}
