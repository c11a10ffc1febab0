import type { DeviceReading } from '#density';

/** What a watcher is told of a VMM beside where to measure it. */
export interface RunNews {
  /** Reads the work of its devices; absent when it has none. Throws when its statistics page cannot be read. */
  devices?: () => DeviceReading;
  /** From admission to the guest's boot, s; absent for one that booted before this agent came. */
  startSeconds?: number;
}
