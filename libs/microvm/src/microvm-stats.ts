/** State a VMM reports of itself; see `volley_vmm_state` in native/abi. */
export type VmmState = 'starting' | 'running' | 'paused' | 'exited';

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
  /** Thread ids of the vCPUs, for /proc/<pid>/task/<tid>/schedstat. */
  vcpuTids: number[];
}
