/** State a VMM reports of itself; see `volley_vmm_state` in native/abi. */
export type VmmState = 'starting' | 'running' | 'paused' | 'exited';

/** Work of one device; see `volley_device_stats` in native/abi for what it means for each kind. */
export interface DeviceStats {
  reads: number;
  writes: number;
  readBytes: number;
  writeBytes: number;
  flushes: number;
  errors: number;
  throttled: number;
  interrupts: number;
}

/** What the guest says of its memory, bytes: hints, not facts. */
export interface BalloonStats {
  targetBytes: number;
  actualBytes: number;
  updatedNs: bigint;
  freeBytes: number;
  totalBytes: number;
  availableBytes: number;
}

/** One reading of a microVM's statistics page. Times are CLOCK_MONOTONIC ns, 0 = not yet; counters only grow. */
export interface MicrovmStats {
  state: VmmState;
  pid: number;
  launchedNs: bigint;
  enteredNs: bigint;
  vmCreatedNs: bigint;
  memoryNs: bigint;
  loadedNs: bigint;
  vcpusNs: bigint;
  runNs: bigint;
  bootedNs: bigint;
  exitedNs: bigint;
  exitsTotal: number;
  exitsPio: number;
  exitsMmio: number;
  exitsHlt: number;
  exitsSignal: number;
  serialBytes: number;
  unknownIo: number;
  /** Where guest memory lies in the VMM's address space, to tell guest pages from VMM pages in smaps. */
  guestMemoryAddress: bigint;
  guestMemoryBytes: number;
  serialDropped: number;
  /** Barriers of the jail that hold. */
  barriers: number;
  /** Last report of the guest's init (`VOLLEY_REPORT_*`), undefined when there was none. */
  guestReport?: number;
  /** In the order of the launch's list. */
  devices: DeviceStats[];
  balloon?: BalloonStats;
  /** Thread ids of the vCPUs, for /proc/<pid>/task/<tid>/schedstat. */
  vcpuTids: number[];
}
