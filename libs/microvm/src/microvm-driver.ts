import type { ExitReport } from './exit-report';
import type { MicrovmStats } from './microvm-stats';
import type { RestoreSpec, SnapshotCpu, SnapshotOptions, SnapshotReport } from './snapshot';

/** How a kernel image is entered; see `volley_boot_protocol` in native/abi. */
export type BootProtocol = 'flat' | 'linux';

/** `split` is cheap and enough for guests with MSI-only interrupts; `full` is what a stock kernel expects. */
export type Irqchip = 'split' | 'full';

/** A barrier of the jail; see docs/jail.md. */
export type Barrier =
  'mounts' | 'network' | 'ipc' | 'uts' | 'pids' | 'user' | 'cgroup' | 'ids' | 'capabilities' | 'rlimits' | 'seccomp';

/** What a VMM process lives in. */
export interface ShellSpec {
  /** Those that must hold: if one cannot be put up, nothing starts. */
  barriers: readonly Barrier[];
  uid: number;
  gid: number;
  /** RLIMIT_NOFILE. */
  openFiles: number;
  /** RLIMIT_FSIZE, bytes. */
  fileBytes: number;
  /**
   * Directories of cgroups: one of a v2 hierarchy (the process is born in it), and one of each v1 hierarchy that takes part
   * (the process is moved there, which takes milliseconds: a reason for shells). Default: the agent's own.
   */
  cgroupPaths?: readonly string[];
}

/** A jailed VMM process that waits to be told which microVM it is. It ends when it is discarded, or with the agent. */
export interface Shell {
  readonly pid: number;
  readonly barriers: readonly Barrier[];
  /** Folder of the snapshot with which it is primed: only a clone of that one can be launched into it. */
  readonly primed: string | undefined;
  /** Resolves when the process has ended without having been used. */
  readonly ended: Promise<void>;
  discard(): void;
}

/** Tokens of a bucket: `size` refills evenly in `refillMs`; `burst` more are there once. */
export interface Bucket {
  size: number;
  burst?: number;
  refillMs: number;
}
export interface Limiter {
  bytes?: Bucket;
  operations?: Bucket;
}

/** A virtio device. The guest finds them in the order of the list. */
export type DeviceSpec =
  | {
      type: 'block';
      /** A raw image, or the read-only base of an overlay. */
      path: string;
      readOnly: boolean;
      /** What the guest sees, a multiple of 512. */
      sizeBytes: number;
      /** Writes go here; made when it is absent. */
      overlayPath?: string;
      /** Of a restore: not the disk of the snapshot, whose guest does not use it. Its size may be another, and the guest is told. */
      replaced?: boolean;
      /** At most 20 bytes of ASCII. */
      serial?: string;
      limit?: Limiter;
    }
  | {
      type: 'net';
      /** An open tap with IFF_VNET_HDR; stays the caller's. */
      tapFd: number;
      /** `02:00:00:00:00:01`. */
      mac: string;
      mtu?: number;
      receiveLimit?: Limiter;
      sendLimit?: Limiter;
    }
  /** The host side is `vsock.sock` in the VMM's directory: connect, send `CONNECT <port>\n`, read `OK <port>\n`. */
  | { type: 'vsock'; guestCid?: number }
  | { type: 'balloon'; startBytes?: number; deflateOnOom?: boolean; reporting?: boolean; statisticsMs?: number }
  | { type: 'rng'; limit?: Limiter };

/** All that is needed to start one microVM. Paths are opened by the binding and handed over as descriptors. */
export interface LaunchSpec {
  /** microVM id, at most 63 bytes. */
  id: string;
  /** An existing, empty directory of this incarnation, on tmpfs; the binding makes `pages` and `control.sock` in it. */
  directory: string;
  /** Absent with `restore`: what the guest runs is in memory then, and the same goes for the command line. */
  kernelPath?: string;
  initrdPath?: string;
  /** A second archive, read right behind the first. */
  initrdExtra?: Uint8Array;
  bootProtocol: BootProtocol;
  irqchip: Irqchip;
  vcpus: number;
  memoryMiB: number;
  /** Kernel command line, at most 2047 bytes of printable ASCII. */
  cmdline: string;
  /** At most 17. */
  devices?: readonly DeviceSpec[];
  /**
   * Goes on from a snapshot instead of booting. Boot protocol, irqchip, vCPUs, memory and the kinds and sizes of the devices must
   * be those of the snapshot; paths, taps, MAC addresses, CIDs and limits may be others. The VMM gives the guest a new
   * generation id (VMGENID); `booted` resolves when the guest has written its boot timer again, which tells that it knows.
   * A VMM that refuses the snapshot ends with the reason in its exit report.
   */
  restore?: RestoreSpec;
  consoleLimit?: Limiter;
  /** What a VMM that is not launched into a shell lives in. Default: a jail with seccomp, no privileges and resource limits only. */
  shell?: ShellSpec;
}

/**
 * What the agent must remember of a running VMM to find it again: the process id alone is not enough, since ids are
 * reused; together with the start time it names one process for as long as the host is up.
 */
export interface VmmIdentity {
  pid: number;
  /** Start time in clock ticks since boot: field 22 of /proc/<pid>/stat. */
  startTicks: string;
  /** /proc/sys/kernel/random/boot_id: an identity of another boot names no process. */
  bootId: string;
  directory: string;
}

/**
 * One VMM process, launched or adopted. Lifecycle as seen from here:
 * - launched: the process exists; `booted` resolves at the guest's boot-timer write or rejects if it ends before.
 * - running <-> paused: by `pause` and `resume`.
 * - exited: `exited` resolves, exactly once, also for adopted processes and for a process killed from outside.
 */
export interface MicrovmProcess {
  readonly id: string;
  readonly identity: VmmIdentity;
  /** Resolves with CLOCK_MONOTONIC ns when the guest has written its boot timer; at once for an adopted, booted guest. Rejects with {@link VmmExitedError}. */
  readonly booted: Promise<bigint>;
  /** Resolves when the process has ended and its page file was read. Never rejects. */
  readonly exited: Promise<ExitReport>;
  /** Parks all vCPUs. Rejects with {@link VmmControlError} when the VMM does not answer within the deadline. */
  pause(deadlineMs?: number): Promise<void>;
  resume(deadlineMs?: number): Promise<void>;
  /** Presses the guest's power button. The guest may ignore it. */
  pressPowerButton(deadlineMs?: number): Promise<void>;
  /** Presses Ctrl-Alt-Del on the guest's keyboard. */
  pressCtrlAltDel(deadlineMs?: number): Promise<void>;
  /** Types into the serial console. Resolves with how many bytes its small buffer took. At most 96 at a time. */
  type(bytes: Uint8Array, deadlineMs?: number): Promise<number>;
  /** Changes a limit while it runs; `device` is the index in the launch's list, or 'console'. Its buckets start full. */
  setLimit(device: number | 'console', which: number, limiter: Limiter, deadlineMs?: number): Promise<void>;
  /** How many bytes the balloon shall take from the guest. Resolves when the guest was told. */
  setBalloon(bytes: number, deadlineMs?: number): Promise<void>;
  /**
   * Writes a snapshot into `directory`, which is made if it is absent. It is there whole and durable when this resolves, and
   * not at all when it does not: files are written under other names first. A snapshot that is there is replaced.
   * Host ends of vsock connections are no part of it: a guest that is restored finds them reset. Overlays of disks are
   * flushed, so that they can be copied while the guest stands still.
   * Rejects with {@link VmmControlError}, with the VMM running as before; with {@link SnapshotError} for an unusable base.
   * `deadlineMs` is for all of it, default 60 s. The file size limit of the VMM's shell applies to `memory`.
   */
  snapshot(directory: string, options?: SnapshotOptions, deadlineMs?: number): Promise<SnapshotReport>;
  /** SIGKILL through the pidfd. Await `exited` for the end. Does nothing after the end. */
  kill(): void;
  /**
   * Reads the statistics page: no message to the VMM, safe at any time until {@link release}.
   * Throws {@link VmmPageError} when the page is damaged or of another version.
   */
  stats(): MicrovmStats;
  /**
   * The guest's serial output as text, oldest first: its last `maxBytes` bytes or, with `since` (`to` of an earlier read),
   * the first `maxBytes` after that. The ring keeps 64 KiB; a `from` greater than `since` tells that bytes in between are
   * lost. Throws {@link VmmPageError} like {@link stats}.
   */
  serial(maxBytes?: number, since?: number): SerialRead;
  /**
   * Closes what is held for this process; the process and its directory stay. To be called after the end, too: until then
   * `stats` and `serial` can still be read. Released before the end, `booted` and `exited` are not settled any more.
   */
  release(): void;
}

export interface SerialRead {
  text: string;
  /** Byte number, counted from the start of the microVM, of the first byte of `text`. */
  from: number;
  /** Byte number after the last byte of `text`; pass it as `since` to go on. */
  to: number;
}

/** What this host's KVM can do. */
export interface KvmProbe {
  available: boolean;
  /** Why not, and what to do about it, when `available` is false; what that means, with a `stand-in`. */
  reason?: string;
  apiVersion?: number;
  /**
   * `hardware`: VMX or SVM. `software`: guest supervisor code is emulated or restricted, stock kernels do not boot. `stand-in`: there is
   * none, and none is needed, since the driver's VMMs run no guests.
   */
  kind?: 'hardware' | 'software' | 'stand-in';
  module?: string;
  maxVcpus?: number;
  /** The processor that this host's KVM shows to guests. */
  cpu?: SnapshotCpu;
  capabilities?: Record<string, number>;
}

/** The typed face of native/binding. One per agent process. */
export interface MicrovmDriver {
  probe(): KvmProbe;
  /**
   * Launches a VMM (clone3 with a pidfd, exec by descriptor) off the JavaScript thread. Resolves when the process exists.
   * Rejects with {@link VmmLaunchError}; nothing is left behind then.
   */
  launch(spec: LaunchSpec, shell?: Shell): Promise<MicrovmProcess>;
  /**
   * Starts a VMM process and jails it, ahead of need. Rejects with {@link VmmLaunchError} that names the barrier that could
   * not be put up; nothing is left behind then.
   */
  prepare(spec: ShellSpec): Promise<Shell>;
  /**
   * Restores a snapshot into a shell, but for what makes a clone somebody: KVM's machine, memory (mapped from the page cache) and vCPUs are
   * there, no guest runs, and no clock of a guest. A launch that restores this folder gives it devices, identity and time. The files must
   * not change meanwhile. Rejects with {@link VmmLaunchError}, code `ESRCH` when the shell has ended; it is no shell any more then.
   */
  prime(shell: Shell, directory: string): Promise<void>;
  /** Which barriers this agent can put up on this host, and why not the others. */
  jail(): { barriers: Barrier[]; missing: { name: Barrier; reason: string }[] };
  /**
   * Opens a persistent tap with IFF_VNET_HDR in the network namespace at this path. Throws {@link VmmLaunchError}, with code
   * `ENODEV` when there is no such tap.
   */
  openTap(name: string, namespacePath: string): number;
  /**
   * Takes over a VMM that another agent process launched. Rejects with {@link VmmGoneError} when that very process no
   * longer runs; its error then carries the exit report found in the page file.
   */
  adopt(id: string, identity: VmmIdentity): Promise<MicrovmProcess>;
  /**
   * The VMM that was launched in `directory` for this microVM, if it still runs: for an agent that died between a launch
   * and writing down the identity. `undefined` when there is none.
   */
  find(id: string, directory: string): Promise<VmmIdentity | undefined>;
  /** Ends the binding's threads. VMMs go on running. */
  close(): void;
}
