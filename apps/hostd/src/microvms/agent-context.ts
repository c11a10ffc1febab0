import type { Logger } from 'pino';
import type { Pacer } from '#concurrency';
import type { SampleTarget } from '#density';
import type { WallClock } from '#journal';
import type { LaunchSpec, MicrovmDriver } from '#microvm';
import type { MicrovmSpec } from '#protocol';
import type { Admission } from '../admission/admission';
import type { Chronicle } from './chronicle';
import type { Facts } from './facts';
import type { RunFolders } from './run-folders';

/** Bounds of everything the agent waits for, in ms. */
export interface AgentLimits {
  /** From the launch to the guest's boot timer. */
  bootMs: number;
  /** A launch holds its place in the queue until the guest has booted, but no longer than this. */
  launchHoldMs: number;
  /** One answer of a VMM to a control message. */
  controlMs: number;
  /** From SIGKILL to the end of the process; after that it is said aloud, and tried again. */
  killMs: number;
  /** How long the start of a higher epoch waits for the end of the lower one before it is refused as `unavailable`. */
  replaceMs: number;
  /** Taking over one running VMM. */
  adoptMs: number;
  /** Remains (journal record, folder with the log) of ended microVMs that are kept until they are erased. */
  endedKept: number;
}

export const DEFAULT_LIMITS: AgentLimits = {
  bootMs: 10_000,
  launchHoldMs: 1_000,
  controlMs: 2_000,
  killMs: 5_000,
  replaceMs: 1_500,
  adoptMs: 5_000,
  endedKept: 1_000,
};

/** What of a launch depends on the image. */
export type BootSource = Pick<LaunchSpec, 'kernelPath' | 'bootProtocol' | 'irqchip'>;

export interface ImageStore {
  /** Names of images that this host can boot. */
  readonly names: string[];
  /** How to boot this spec, or why it cannot be booted here. */
  resolve(spec: MicrovmSpec): BootSource | { refused: string };
}

/** Is told which VMMs run, to measure them. */
export interface RunWatcher {
  began(target: SampleTarget): void;
  ended(microvmId: string): void;
}

/** What every part that handles microVMs works with. */
export interface AgentContext {
  readonly chronicle: Chronicle;
  readonly driver: MicrovmDriver;
  readonly admission: Admission;
  readonly folders: RunFolders;
  readonly clock: Pick<WallClock, 'now' | 'ofMonotonic'>;
  readonly facts: Facts;
  readonly pacer: Pacer;
  readonly images: ImageStore;
  readonly watcher: RunWatcher;
  readonly limits: AgentLimits;
  readonly log: Logger;
}
