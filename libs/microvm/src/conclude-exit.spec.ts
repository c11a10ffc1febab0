import { cleanMessage, concludeExit } from './conclude-exit';
import type { ExitEvidence } from './native-binding';

const evidence = (given: Partial<ExitEvidence>): ExitEvidence => ({
  pageReason: 0,
  pageDetail: 0n,
  pageMessage: new Uint8Array(),
  killRequested: false,
  oomKilled: false,
  oomSuspected: false,
  atNs: 5n,
  ...given,
});
const killedBy = (signal: number) => ({ statusCode: 2, status: signal });

describe('concludeExit', () => {
  it.each([
    [1, 'powerOff'],
    [2, 'reboot'],
    [3, 'panic'],
    [4, 'tripleFault'],
    [7, 'jailViolation'],
    [8, 'vmmError'],
    [9, 'requested'],
  ])('takes reason %i from the page as %s', (pageReason, reason) => {
    const pageMessage = Buffer.from('said so');
    expect(concludeExit(evidence({ pageReason, pageMessage, statusCode: 1, status: 0 }), 'parent')).toEqual({
      reason,
      message: 'said so',
      exitCode: 0,
      atNs: 5n,
    });
    expect(concludeExit(evidence({ pageReason }), 'nobody').message).not.toBe('');
  });

  it('keeps the reason of a VMM that was killed after it had written it', () => {
    expect(concludeExit(evidence({ pageReason: 1, ...killedBy(9) }), 'parent')).toMatchObject({
      reason: 'powerOff',
      signal: 9,
    });
  });

  it.each([
    ['killed by us', { ...killedBy(9), killRequested: true }, 'parent', 'killed', /the agent killed/],
    ['killed from outside', killedBy(9), 'parent', 'killed', /from outside/],
    ['OOM on record', { ...killedBy(9), oomKilled: true }, 'parent', 'outOfMemory', /OOM killer/],
    ['OOM perhaps', { ...killedBy(9), oomSuspected: true }, 'parent', 'killed', /may have run out of memory/],
    ['SIGSYS', killedBy(31), 'parent', 'jailViolation', /SIGSYS/],
    ['SIGSEGV', killedBy(11), 'parent', 'killed', /SIGSEGV/],
    ['an odd signal', killedBy(63), 'parent', 'killed', /signal 63/],
    ['stopped before it began', { statusCode: 1, status: 159 }, 'parent', 'jailViolation', /before it had begun/],
    ['exit code', { statusCode: 1, status: 3 }, 'parent', 'vmmError', /code 3/],
    ['adopted, no status', {}, 'adopter', 'killed', /adopted/],
    ['adopted, OOM', { oomKilled: true }, 'adopter', 'outOfMemory', /OOM/],
    ['nobody watched', {}, 'nobody', 'lost', /no agent watched/],
  ] as const)('%s', (_name, given, witness, reason, message) => {
    const report = concludeExit(evidence(given), witness);
    expect(report.reason).toBe(reason);
    expect(report.message).toMatch(message);
  });

  it('mentions a damaged page', () => {
    const pageMessage = Buffer.from('the page file is damaged');
    expect(concludeExit(evidence({ pageMessage }), 'nobody').message).toMatch(/damaged/);
  });
});

describe('cleanMessage', () => {
  it('lets nothing through that drives a terminal or forges a line', () => {
    expect(cleanMessage(Buffer.from('a\x1b[31mb\nc\u2028d\x00', 'utf8'))).toBe('a [31mb c d');
    expect(cleanMessage(Uint8Array.of(0x61, 0xff, 0x62))).toBe('a\ufffdb');
  });
});
