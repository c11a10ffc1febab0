import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { KvmProbe } from './microvm-driver';

/** What native/binding knows about the end of a VMM; `concludeExit` draws the conclusion. */
export interface ExitEvidence {
  /** `volley_exit_reason` written by the VMM, 0 when it wrote none. */
  pageReason: number;
  /** KVM exit reason and suberror, or errno. */
  pageDetail: bigint;
  /** Bytes written by the VMM: a less trusted process. */
  pageMessage: Uint8Array;
  /** siginfo `si_code`: 1 exited, 2 killed, 3 killed with core; absent for processes that are not our children. */
  statusCode?: number;
  /** Exit code or signal number. */
  status?: number;
  killRequested: boolean;
  oomKilled: boolean;
  oomSuspected: boolean;
  atNs: bigint;
}

export type NativeEvent =
  | { kind: 'launched'; request: number; handle: number; pid: number; startTicks: string; bootedNs: bigint }
  | { kind: 'shell'; request: number; handle: number; pid: number; barriers: number }
  | { kind: 'primed'; request: number }
  | { kind: 'shellEnded'; handle: number }
  | { kind: 'refused'; request: number; errno: number; message: string }
  | { kind: 'gone'; request: number; evidence: ExitEvidence }
  | { kind: 'found'; request: number; pid: number; startTicks: string }
  | { kind: 'booted'; handle: number; atNs: bigint }
  | { kind: 'replied'; handle: number; request: number; status: number; count: number; payload: Buffer }
  | { kind: 'disconnected'; handle: number; message: string }
  | { kind: 'exited'; handle: number; evidence: ExitEvidence };

export interface NativeLaunchOrder {
  id: string;
  directory: string;
  /** One of the two. */
  kernelPath?: string;
  restoreDirectory?: string;
  initrdPath?: string;
  initrdExtra?: Uint8Array;
  cmdline: string;
  bootProtocol: number;
  irqchip: number;
  vcpus: number;
  memoryBytes: number;
  devices: NativeDeviceOrder[];
  /** As `limits` of a device. */
  consoleLimit: number[];
}

/** `volley_device` of native/abi; what is absent is 0. */
export interface NativeDeviceOrder {
  type: number;
  flags: number;
  path?: string;
  overlayPath?: string;
  tapFd?: number;
  size?: number;
  guestCid?: number;
  statisticsMs?: number;
  mac?: Uint8Array;
  mtu?: number;
  serial?: string;
  /** Per limiter six numbers: size, burst and refill of its bytes, then of its operations. */
  limits?: number[];
}

/** `volley_jail_order` of native/abi. */
export interface NativeShellOrder {
  barriers: number;
  uid: number;
  gid: number;
  openFiles: number;
  fileBytes: number;
  cgroupPaths: string[];
}

export interface NativeAdoptOrder {
  id: string;
  directory: string;
  startTicks: string;
  bootId: string;
  pid: number;
}

/** The class that native/binding exports: launcher threads, the monitor thread and the table of VMMs. */
export interface NativeEngine {
  readonly bootId: string;
  /** `shell`: what to make, or the handle of one that is there. */
  launch(request: number, order: NativeLaunchOrder, make: NativeShellOrder | undefined, shell: number): void;
  prepare(request: number, order: NativeShellOrder): void;
  /** Has a shell restore all of the snapshot in `directory` that is nobody's own. One that cannot is ended. */
  prime(request: number, shell: number, directory: string): void;
  /** Ends a shell. */
  discard(handle: number): void;
  jail(): { barriers: number; missing: { barrier: number; reason: string }[] };
  adopt(request: number, order: NativeAdoptOrder): void;
  find(request: number, id: string, directory: string): void;
  /** Passes duplicates of at most two descriptors. 0 or an errno. */
  send(
    handle: number,
    type: number,
    request: number,
    argument: number,
    payload?: Uint8Array,
    descriptors?: number[],
  ): number;
  abandon(handle: number, request: number): void;
  /** 0 or an errno. */
  kill(handle: number): number;
  /** Fills both arrays: fields, then room for 32 vCPU thread ids, then the counters of each device. */
  readStats(handle: number, times: BigUint64Array, numbers: Float64Array): void;
  readSerial(
    handle: number,
    maxBytes: number,
    since: number | undefined,
  ): { bytes: Uint8Array; from: number; to: number; ended: boolean };
  release(handle: number): void;
  /** Keeps the process alive until `unref`: called while answers are due. */
  ref(): void;
  unref(): void;
  close(): void;
}

export interface NativeBinding {
  Engine: new (
    vmmPath: string,
    launchThreads: number,
    onEvents: (events: NativeEvent[]) => void,
    vsockServices: Record<number, string>,
    /** Handed to every VMM; empty: none is. */
    kvmDevice: string,
  ) => NativeEngine;
  probe(device?: string): KvmProbe;
  /** Throws with `errno`. */
  openTap(name: string, namespacePath: string): number;
  /** 0 or an errno. */
  reserveCpu(tid: number, runtimeNs: number, periodNs: number): number;
  /** 0 or an errno. */
  releaseCpu(tid: number, atOnce: boolean): number;
  /** Throws with `errno`. */
  readCpuReservation(tid: number): { runtimeNs: number; periodNs: number };
  abiVersion: number;
  timeFields: string[];
  numberFields: string[];
  deviceFields: string[];
}

const BUILT_AT = 'native/build/binding/volley.node';

/** Path of the built addon in the repository that this file is part of, whether it runs from `libs` or from `dist`. */
function builtPath(): string {
  for (let folder = __dirname; ; folder = dirname(folder)) {
    const path = join(folder, BUILT_AT);
    if (existsSync(path)) return path;
    if (folder === dirname(folder)) {
      throw new Error(`the KVM binding is not built (no ${BUILT_AT}): run \`npm run build:native\``);
    }
  }
}

/** Loads the addon. Throws when it is not built or cannot be loaded into this Node. */
export function loadNativeBinding(path: string = builtPath()): NativeBinding {
  // A plain `require` would be subject to the module loader of the moment (bundlers, test runners).
  const module: { exports: unknown } = { exports: {} };
  process.dlopen(module, path);
  return module.exports as NativeBinding;
}
