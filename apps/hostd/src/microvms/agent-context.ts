import type { Logger } from 'pino';
import type { Pacer } from '#concurrency';
import type { SampleTarget } from '#density';
import type { WallClock } from '#journal';
import type { LaunchSpec, MicrovmDriver } from '#microvm';
import type { MicrovmSpec, RunConfig, SnapshotPlatform } from '#protocol';
import type { Admission } from '#scheduling';
import type { Cgroups } from '../cgroups/cgroups';
import type { Disks } from '../disks/disks';
import type { RunNews } from '../density/run-news';
import type { SnapshotFolders } from '../snapshots/snapshot-folders';
import type { SnapshotObstacle } from '../snapshots/snapshot-obstacle';
import type { TemplateStore } from '../templates/template-store';
import type { WorkingSets } from '../templates/working-sets';
import type { WakeDoors } from '../wake/wake-doors';
import type { SlotKeeper } from '../slots/slot-keeper';
import type { Chronicle } from './chronicle';
import type { Moment } from './expiry';
import type { Facts } from './facts';
import type { RunFolders } from './run-folders';

/** Bounds of everything the agent waits for, in ms. */
export interface AgentLimits {
  /** From the launch to the guest's boot timer. */
  bootMs: number;
  /** Everything that comes before a launch: fetching the image, formatting disks. */
  preparationMs: number;
  /** A start that was admitted in its turn keeps that while it gets ready what it needs, but no longer than this. */
  preparationHoldMs: number;
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
  preparationMs: 600_000,
  preparationHoldMs: 50,
  launchHoldMs: 1_000,
  controlMs: 2_000,
  killMs: 5_000,
  replaceMs: 1_500,
  adoptMs: 5_000,
  endedKept: 1_000,
};

/** What of a launch depends on the image. All paths are of files that are complete, verified and not going to change. */
export interface BootSource extends Pick<LaunchSpec, 'kernelPath' | 'initrdPath' | 'bootProtocol' | 'irqchip'> {
  /** Put in front of the spec's command line. Default: {@link LINUX_CMDLINE} for a Linux image, nothing for a built-in one. */
  cmdline?: string;
  /** There for Linux images: what their init is told. */
  linux?: {
    /** The read-only root file system: the first disk of the guest. */
    root: { path: string; sizeBytes: number; type: 'squashfs' | 'erofs' | 'ext4' };
    /** Paths in the initrd of kernel modules, in the order of loading. */
    modules: readonly string[];
    /** What runs in it unless the spec says otherwise. */
    run: RunConfig;
  };
}

/** Command line of a Linux image whose store says nothing else. */
export const LINUX_CMDLINE = 'console=ttyS0 reboot=k panic=-1 quiet';

/** Rejection of {@link ImageStore.resolve}: the image cannot be had here. Its message goes into the microVM's history as it is. */
export class ImageUnavailableError extends Error {
  override readonly name = 'ImageUnavailableError';
}

export interface ImageStore {
  /** Names of built-in images that this host can boot, for its description. */
  readonly names: string[];
  /**
   * Why this spec cannot be booted here, as far as that is known without waiting; asked before a place is granted. Undefined: it
   * can, or {@link resolve} will find out.
   */
  refuses(spec: MicrovmSpec): string | undefined;
  /**
   * Brings everything here that the image needs, which may take as long as a download does. Asked after a place was granted, for
   * every start, and again after a restart of the agent; several starts of one image may ask at the same time. What it names
   * must stay until no incarnation of the journal has this image any more.
   *
   * @throws ImageUnavailableError; whatever else is thrown ends the incarnation too, with `the image could not be made ready: ...`.
   */
  resolve(spec: MicrovmSpec, signal: AbortSignal): Promise<BootSource>;
}

/** Is told which VMMs run, to measure them. */
export interface RunWatcher {
  began(target: SampleTarget, news: RunNews): void;
  ended(microvmId: string): void;
}

/** What every part that handles microVMs works with. */
export interface AgentContext {
  readonly chronicle: Chronicle;
  readonly driver: MicrovmDriver;
  readonly admission: Admission;
  readonly slots: SlotKeeper;
  readonly cgroups: Pick<Cgroups, 'limit' | 'oomKills' | 'groupOf'>;
  readonly disks: Disks;
  readonly templates: TemplateStore;
  readonly workingSets: WorkingSets;
  /** The memory of suspended microVMs, by their ids. */
  readonly suspensions: SnapshotFolders;
  /** Of the snapshots that are taken and restored here; undefined: none are. */
  readonly platform: SnapshotPlatform | undefined;
  readonly snapshotObstacle: SnapshotObstacle;
  readonly folders: RunFolders;
  /** Where who comes wakes what is suspended. */
  readonly wakeDoors: Pick<WakeDoors, 'changed' | 'suspended'>;
  readonly clock: Pick<WallClock, 'now' | 'ofMonotonic'>;
  /** All clocks at once, for what must not depend on the wall clock alone. */
  readonly moment: () => Moment;
  readonly facts: Facts;
  readonly pacer: Pacer;
  readonly images: ImageStore;
  readonly watcher: RunWatcher;
  readonly limits: AgentLimits;
  /** Name servers of guests. */
  readonly dns: readonly string[];
  readonly log: Logger;
}
