import type { ExitReport } from '#microvm';
import type { Exit } from '#protocol';

/** Why Volley itself ends an incarnation; decides what its exit says unless the guest was faster. */
export interface EndCause {
  reason: Exit['reason'];
  message: string;
}

/** How a process looks that was ended from outside, or of which nobody knows how it ended. */
const SILENT_ENDS: readonly ExitReport['reason'][] = ['killed', 'requested', 'lost'];

const MESSAGE_MAX = 1024;

/** What the history will say about an end: the VMM's own account, or ours when we ended it. */
export function exitOf(report: ExitReport, cause: EndCause | undefined, at: number, program?: Exit['program']): Exit {
  const told = cause && SILENT_ENDS.includes(report.reason) ? cause : report;
  return {
    reason: told.reason,
    message: told.message.slice(0, MESSAGE_MAX),
    at,
    ...(program === undefined ? {} : { program }),
  };
}
