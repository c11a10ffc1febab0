export { openKeyValue, openObjects, type BucketOptions } from './buckets';
export * from './clock';
export * from './connection-traits';
export * from './connection-watch';
export * from './deadline-queue';
export * from './fold';
export { type FollowOptions, type Follower } from './follower';
export { InboundWatermark } from './inbound-watermark';
export {
  Journal,
  type AppendOptions,
  type Appended,
  type History,
  type JournalOptions,
  type ScanOptions,
} from './journal';
export { type JournalEntry, type UnreadableMessage } from './journal-entry';
export * from './journal-errors';
export { LiveBucket, type LiveBucketOptions } from './live-bucket';
export { retry } from './retry';
export { type StreamOptions } from './stream-config';
export { WallClock, wallClockMs } from './wall-clock';
