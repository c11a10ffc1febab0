/** Why a microVM ended; see `volley_exit_reason` in native/abi. `lost`: it ended while no agent watched and left no reason. */
export type ExitReason =
  | 'powerOff'
  | 'reboot'
  | 'panic'
  | 'tripleFault'
  | 'killed'
  | 'outOfMemory'
  | 'jailViolation'
  | 'vmmError'
  | 'requested'
  | 'lost';

/** How one VMM process ended. */
export interface ExitReport {
  reason: ExitReason;
  /** One sentence for people. */
  message: string;
  /** Number of the signal that ended the process, when one did and it is known (not for adopted processes). */
  signal?: number;
  /** Exit code of the process, when known. */
  exitCode?: number;
  /** CLOCK_MONOTONIC ns at which the VMM or, failing that, the agent noticed the end. */
  atNs: bigint;
}
