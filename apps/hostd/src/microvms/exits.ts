import type { ExitReport } from '#microvm';
import type { Exit } from '#protocol';

/** Why Volley itself ends an incarnation; decides what its exit says unless the guest was faster. */
export interface EndCause {
  reason: ExitReport['reason'];
  message: string;
}

/** How a process looks that was ended from outside, or of which nobody knows how it ended. */
const SILENT_ENDS: readonly ExitReport['reason'][] = ['killed', 'requested', 'lost'];

/** Ends of a guest behind which the end of its program may be the reason. */
const OF_THE_PROGRAM: readonly ExitReport['reason'][] = ['powerOff', 'reboot'];

const MESSAGE_MAX = 1024;

/** What there is to know about one end. */
export interface EndEvidence {
  /** The VMM's own account. */
  report: ExitReport;
  /** Why we ended it, if we did. */
  cause?: EndCause | undefined;
  /** Whether its guest had been asked to power off. */
  asked: boolean;
  program?: Exit['program'];
  at: number;
}

/** What the history will say about an end: the VMM's own account, ours when we ended it, or that the program in it failed. */
export function exitOf({ report, cause, asked, program, at }: EndEvidence): Exit {
  const vmm = cause && SILENT_ENDS.includes(report.reason) ? cause : report;
  const told = (!asked && OF_THE_PROGRAM.includes(report.reason) && failureOf(program)) || vmm;
  return {
    reason: told.reason,
    message: told.message.slice(0, MESSAGE_MAX),
    at,
    ...(program === undefined ? {} : { program }),
  };
}

type Failure = Pick<Exit, 'reason' | 'message'>;

function failureOf(program: Exit['program']): Failure | undefined {
  if (program === undefined || program.asked) return undefined;
  const failed = (how: string): Failure => ({ reason: 'programFailed', message: `the program ${how}` });
  if (program.outOfMemory) {
    return { reason: 'guestOutOfMemory', message: 'the program was killed because the guest had no memory left' };
  }
  if (program.errno !== undefined) return failed(`could not be started (errno ${program.errno}); its log says why`);
  if (program.signal !== undefined) return failed(`was ended by signal ${program.signal}`);
  return program.code ? failed(`ended with code ${program.code}`) : undefined;
}
