import type { ExitReport } from './exit-report';

/** Thrown by `launch` when no process could be started: bad spec, missing file, or the kernel refused. Nothing is left behind. */
export class VmmLaunchError extends Error {
  override readonly name = 'VmmLaunchError';
  constructor(
    message: string,
    /** errno name such as `ENOMEM`, when a system call failed. */
    readonly code?: string,
  ) {
    super(message);
  }
}

/** Thrown by commands to a VMM when it refused, did not answer within the deadline, or its control socket is gone. */
export class VmmControlError extends Error {
  override readonly name = 'VmmControlError';
  constructor(
    message: string,
    /** errno name such as `EINVAL`, when the VMM refused by one. */
    readonly code?: string,
  ) {
    super(message);
  }
}

/**
 * Thrown by `stats` and `serial` when the page file cannot be trusted or read: the microVM was released, or its VMM (a
 * less trusted process) damaged the file or is of another version. The process can still be watched and killed.
 */
export class VmmPageError extends Error {
  override readonly name = 'VmmPageError';
}

/** Rejection of `booted` when the VMM ended before its guest had booted. */
export class VmmExitedError extends Error {
  override readonly name = 'VmmExitedError';
  constructor(readonly report: ExitReport) {
    super(`the VMM ended before the guest booted: ${report.message}`);
  }
}

/** Thrown by `adopt` when the remembered process no longer runs; carries the reason found in its page file. */
export class VmmGoneError extends Error {
  override readonly name = 'VmmGoneError';
  constructor(readonly report: ExitReport) {
    super(`the VMM is gone: ${report.message}`);
  }
}

/**
 * What is wrong with a snapshot. `missing`: there is none. `truncated`, `corrupt`: not as it was written. `foreign`: not a
 * snapshot, or its files belong to different ones. `unsupportedVersion`: of a format that this version does not read.
 * `incompatible`: sound, but not for this host or this microVM.
 */
export type SnapshotProblem = 'missing' | 'truncated' | 'corrupt' | 'foreign' | 'unsupportedVersion' | 'incompatible';

/** Thrown by `describeSnapshot`, and by `snapshot` for its base: the files in a directory are no snapshot that can be used. */
export class SnapshotError extends Error {
  override readonly name = 'SnapshotError';
  constructor(
    readonly problem: SnapshotProblem,
    message: string,
  ) {
    super(message);
  }
}
