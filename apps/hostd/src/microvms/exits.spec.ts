import type { ExitReport } from '#microvm';
import { exitOf, type EndEvidence } from './exits';

const report = (reason: ExitReport['reason']): ExitReport => ({ reason, message: `by ${reason}`, atNs: 1n });
const exit = (evidence: Partial<EndEvidence>) =>
  exitOf({ report: report('powerOff'), asked: false, at: 5, ...evidence });

describe('what the history says about an end', () => {
  it("is the VMM's own account", () => {
    expect(exit({})).toEqual({ reason: 'powerOff', message: 'by powerOff', at: 5 });
    expect(exit({ program: { code: 0 } })).toMatchObject({ reason: 'powerOff', program: { code: 0 } });
  });

  it('is ours when we ended it and the guest was not faster', () => {
    const cause = { reason: 'requested' as const, message: 'killed on request' };
    expect(exit({ report: report('killed'), cause })).toMatchObject(cause);
    expect(exit({ report: report('panic'), cause })).toMatchObject({ reason: 'panic' });
  });

  it.each([
    [{ code: 3 }, 'programFailed', 'the program ended with code 3'],
    [{ signal: 11 }, 'programFailed', 'the program was ended by signal 11'],
    [{ errno: 2 }, 'programFailed', 'the program could not be started (errno 2); its log says why'],
    [{ outOfMemory: true }, 'guestOutOfMemory', 'the program was killed because the guest had no memory left'],
  ] as const)('is the failure of the program: %j', (program, reason, message) => {
    expect(exit({ program })).toEqual({ reason, message, at: 5, program });
    expect(exit({ program, report: report('reboot') }).reason).toBe(reason);
  });

  it('is no failure when the guest was asked to end, from outside or inside', () => {
    expect(exit({ program: { signal: 15 }, asked: true })).toMatchObject({ reason: 'powerOff' });
    expect(exit({ program: { signal: 15, asked: true } })).toMatchObject({ reason: 'powerOff' });
  });

  it('is worse than the program when the guest or the VMM broke', () => {
    expect(exit({ program: { code: 1 }, report: report('panic') })).toMatchObject({ reason: 'panic' });
  });
});
