/** The capture store: traffic as a tree of messages, each stored once. */
export { type CallFilter, CaptureReader, openCaptureReader } from './capture-reader.ts'
export { CaptureStore, openCaptureStore } from './capture-store.ts'
export { checkCapture } from './check.ts'
export { capturePath } from './home.ts'
export type { Origin } from './record.ts'
export { groupsOf, trajectoriesOf } from './trajectories.ts'
