import type { BootProtocol, Irqchip, KvmProbe } from './microvm-driver';

/**
 * Names of the files of a snapshot in its directory: `state` (vCPUs, devices and what a restore must check) and `memory`
 * (sparse: pages of zeros are holes).
 */
export const SNAPSHOT_FILES = { state: 'state', memory: 'memory' } as const;

export interface SnapshotOptions {
  /**
   * `full` (default) writes every page that is not zero. `diff` writes into a copy of the base that `base` names only what has
   * changed since then: it takes less time, and its outcome is as complete as a full one.
   */
  kind?: 'full' | 'diff';
  /**
   * For `diff`: the directory of the snapshot that was the last of this microVM, or from which it was restored.
   * {@link SnapshotError} `incompatible` when it is another one.
   */
  base?: string;
  /** Whether the guest goes on afterwards. Default: only if it was not paused before. */
  resume?: boolean;
  /**
   * Writes memory while the guest runs and stops it only for what it wrote meanwhile, instead of for all of it. Where the host's
   * KVM cannot tell what a guest writes it stands still for all of it nevertheless, and the report says so (`tracking`); so it does
   * where its VMM is older than that (`reason`).
   */
  live?: boolean;
}

/** What it took. */
export interface SnapshotReport {
  kind: 'full' | 'diff';
  /** How long the guest stood still for the snapshot, ns; for one that does not resume, until its state was written. */
  pauseNs: number;
  /** From the order to the last byte, ns; without the time to make it durable. */
  totalNs: number;
  /** Pages of 4 KiB written. */
  pages: number;
  /** Bytes written into `memory` and `state`. */
  bytes: number;
  copy: SnapshotCopy;
}

/** How memory was copied. */
export interface SnapshotCopy {
  /**
   * How the VMM knew what the guest wrote meanwhile: by KVM's dirty log, in which pages are watched again one by one (`manual`) or
   * all at once (`plain`). `none`: the guest stood still all the time, because that was asked for or this KVM keeps no log.
   */
  tracking: 'none' | 'plain' | 'manual';
  /** False: the guest wrote faster than could be copied, or as fast, and was stopped all the same: the pause was long. */
  converged: boolean;
  /** Bytes of memory written in each round over it; the last are those of the pause. */
  roundBytes: number[];
  /** Why the guest stood still for all of it, though `live` was asked for: its VMM is too old. */
  reason?: string;
}

/** What a snapshot demands of who restores it, read from its `state` file without starting anything. */
export interface SnapshotDescription {
  /** Of the format. */
  version: number;
  /** 32 hexadecimal digits; tells snapshots apart, and ties `state` and `memory` together. */
  id: string;
  createdAt: Date;
  kvmKind: NonNullable<KvmProbe['kind']>;
  /** The processor that the guest was shown: it must not find another. */
  cpu: SnapshotCpu;
  bootProtocol: BootProtocol;
  irqchip: Irqchip;
  vcpus: number;
  memoryMiB: number;
  /** As `LaunchSpec.devices` of the microVM had them, without what may be another on every restore. */
  devices: SnapshotDevice[];
  /** Bytes of `state`; of `memory`, holes included; and of what is in it. */
  stateBytes: number;
  memoryBytes: number;
  dataBytes: number;
}

export interface SnapshotCpu {
  /** `AuthenticAMD`, `GenuineIntel`, ... */
  vendor: string;
  family: number;
  model: number;
  stepping: number;
  /** CRC-32C of all that CPUID told the guest, as 8 hexadecimal digits: equal on hosts that are alike to it. */
  features: string;
}

export type SnapshotDevice =
  | { type: 'block'; readOnly: boolean; sizeBytes: number }
  | { type: 'net'; mtu?: number }
  | { type: 'vsock' }
  | { type: 'balloon'; deflateOnOom: boolean; reporting: boolean; statistics: boolean }
  | { type: 'rng' };

/** Starts a microVM from a snapshot instead of a kernel: `LaunchSpec.restore`. */
export interface RestoreSpec {
  /** The directory of the snapshot. Its `memory` is mapped privately and must not change while the microVM lives. */
  directory: string;
}

/** The host on which a snapshot would be restored. `cpu` is absent where it is not known, and not compared then. */
export interface RestoreHost {
  kvmKind: KvmProbe['kind'];
  cpu?: SnapshotCpu;
}
