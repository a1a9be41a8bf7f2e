/** The capture store: traffic as a tree of messages, each stored once. */
export {
  type CallFilter,
  CaptureReader,
  type CaptureStats,
  openCaptureReader,
  type SessionSummary,
} from './capture-reader.ts'
export { CaptureStore, type CaptureStoreOptions, openCaptureStore } from './capture-store.ts'
export { capturePath } from './home.ts'
export type { MessageReader } from './message-tree.ts'
export type { Prompt, PromptContent, PromptMessage } from './prompt.ts'
export type { CallRecord, Placement, RecordedReply, RecordedRequest } from './record.ts'
export { groupsOf, trajectoriesOf } from './trajectories.ts'
