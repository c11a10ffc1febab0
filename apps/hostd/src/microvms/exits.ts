import type { ExitReport } from '#microvm';
import type { Exit } from '#protocol';

/** Why Volley itself ends an incarnation; decides what its exit says unless the guest was faster. */
export interface EndCause {
  reason: Exit['reason'];
  message: string;
}

/** The controllers may start it elsewhere from now on. */
export const FENCED: EndCause = {
  reason: 'fenced',
  message: 'ended by its host, which had not heard from the controllers until the end of its lease',
};
export const HOST_RESTARTED: EndCause = { reason: 'hostRestarted', message: 'the machine under it was restarted' };

/** How a process looks that was ended from outside, or of which nobody knows how it ended. */
const SILENT_ENDS: readonly Exit['reason'][] = ['killed', 'requested', 'lost'];

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
  /** Why, if that was for want of use. */
  idle?: string | undefined;
  program?: Exit['program'];
  at: number;
}

/** What the history will say about an end: the VMM's own account, ours when we ended it, or that the program in it failed. */
export function exitOf({ report, cause, asked, idle, program, at }: EndEvidence): Exit {
  const told = account({ report, cause, asked, idle, program });
  return {
    reason: told.reason,
    message: told.message.slice(0, MESSAGE_MAX),
    at,
    ...(program === undefined ? {} : { program }),
  };
}

function account({ report, cause, asked, idle, program }: Omit<EndEvidence, 'at'>): Pick<Exit, 'reason' | 'message'> {
  const silent = SILENT_ENDS.includes(report.reason);
  const ofTheProgram = OF_THE_PROGRAM.includes(report.reason);
  // Its time to live, its lease or an erase may still cut in while it powers off for want of use.
  const cutIn = cause && cause.reason !== 'requested';
  if (idle !== undefined && (silent || ofTheProgram) && !cutIn) return { reason: 'idle', message: idle };
  return (!asked && ofTheProgram && failureOf(program)) || (cause && silent ? cause : report);
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
