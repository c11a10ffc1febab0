export * from './clock';
export * from './connection-watch';
export * from './deadline-queue';
export * from './fold';
export { type FollowOptions, type Follower } from './follower';
export { Journal, type AppendOptions, type Appended, type History, type JournalOptions } from './journal';
export { type JournalEntry, type UnreadableMessage } from './journal-entry';
export * from './journal-errors';
export { type StreamOptions } from './stream-config';
