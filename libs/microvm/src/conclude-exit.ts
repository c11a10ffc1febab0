import { constants } from 'node:os';
import type { ExitReason, ExitReport } from './exit-report';
import type { ExitEvidence } from './native-binding';

/** Who saw the end: the parent of the process, an agent that adopted it, or nobody. */
export type Witness = 'parent' | 'adopter' | 'nobody';

/** By `volley_exit_reason`, with the sentence for a VMM that gave none. 5 and 6 are never taken from a page. */
const PAGE_REASONS = new Map<number, readonly [ExitReason, string]>([
  [1, ['powerOff', 'the guest powered off']],
  [2, ['reboot', 'the guest asked for a reset']],
  [3, ['panic', 'the guest reported a panic']],
  [4, ['tripleFault', 'the guest ended in a triple fault']],
  [7, ['jailViolation', 'the VMM made a system call that its jail forbids']],
  [8, ['vmmError', 'the VMM could not go on and did not say why']],
  [9, ['requested', 'the agent asked the VMM to end']],
]);

const CLD_EXITED = 1;
/** Exit code of a VMM that the jail stopped before it had a page to write the reason to. */
const STOPPED_BY_JAIL = 128 + constants.signals.SIGSYS;

function signalName(signal: number): string {
  const found = Object.entries(constants.signals).find(([, number]) => number === signal);
  return found === undefined ? `signal ${signal}` : found[0];
}

/** Text of a less trusted process, fit for a log line. */
export function cleanMessage(bytes: Uint8Array): string {
  return (
    new TextDecoder()
      .decode(bytes)
      // Control characters could forge log lines or drive a terminal.
      // eslint-disable-next-line no-control-regex
      .replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ')
      .trim()
  );
}

/**
 * Draws the conclusion from what is known about the end of a VMM. The VMM's own word comes first, then the way the
 * process ended; pure.
 */
export function concludeExit(evidence: ExitEvidence, witness: Witness): ExitReport {
  const report = conclude(evidence, witness);
  const { statusCode, status } = evidence;
  return {
    ...report,
    ...(statusCode === undefined || status === undefined
      ? {}
      : statusCode === CLD_EXITED
        ? { exitCode: status }
        : { signal: status }),
    atNs: evidence.atNs,
  };
}

function conclude(evidence: ExitEvidence, witness: Witness): Pick<ExitReport, 'reason' | 'message'> {
  const said = cleanMessage(evidence.pageMessage);
  const byPage = PAGE_REASONS.get(evidence.pageReason);
  if (byPage !== undefined) return { reason: byPage[0], message: said === '' ? byPage[1] : said };

  // Without a reason the message is the binding's remark on an unreadable page.
  const remark = said === '' ? '' : ` (${said})`;
  const { statusCode, status } = evidence;
  if (witness === 'nobody') {
    return { reason: 'lost', message: `the VMM ended while no agent watched and left no reason${remark}` };
  }
  if (statusCode === CLD_EXITED && status === STOPPED_BY_JAIL) {
    return {
      reason: 'jailViolation',
      message: 'the VMM made a system call that its jail forbids, before it had begun',
    };
  }
  if (statusCode === CLD_EXITED) {
    return { reason: 'vmmError', message: `the VMM exited with code ${status} and left no reason${remark}` };
  }
  if (statusCode !== undefined && status === constants.signals.SIGSYS) {
    return { reason: 'jailViolation', message: 'the VMM made a system call that its jail forbids (SIGSYS)' };
  }
  if (statusCode !== undefined && status !== undefined && status !== constants.signals.SIGKILL) {
    return { reason: 'killed', message: `the VMM was ended by ${signalName(status)}${remark}` };
  }
  if (evidence.oomKilled) return { reason: 'outOfMemory', message: "the kernel's OOM killer ended the VMM" };
  if (evidence.killRequested) return { reason: 'killed', message: 'the agent killed the VMM (SIGKILL)' };
  const doubt = evidence.oomSuspected
    ? '; OOM kills were counted on this host that its kernel log does not explain, so it may have run out of memory'
    : '';
  return statusCode === undefined
    ? { reason: 'killed', message: `the adopted VMM ended without a reason, so a signal ended it${doubt}${remark}` }
    : { reason: 'killed', message: `the VMM was killed from outside (SIGKILL)${doubt}${remark}` };
}
