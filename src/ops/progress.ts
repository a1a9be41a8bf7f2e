/** What a long operation tells while it works; the CLI draws it, the API streams it. */
export interface StageProgress {
  /** @param done out of `total`, in whatever the stage counts */
  update(done: number, total: number, text?: string): void
}

export interface ProgressSink {
  begin(stage: string): StageProgress
  end(
    stage: string,
    result: { tookMs: number; reused: boolean; facts: Readonly<Record<string, string | number>> },
  ): void
  note(text: string): void
}
