import { decideEvents, foldMicrovmRecord, type MicrovmLife } from '#lifecycle';
import { SHARED, type Cause, type Exit, type MicrovmEvent, type MicrovmSpec } from '#protocol';
import { ClaimReader } from './claim-reader';

const T0 = 1_700_000_000_000;
const ID = '01hzzzzzzzzzzzzzzzzzzzzzzz';
const OPERATOR: Cause = { kind: 'operator', by: 'test' };
const HOST: Cause = { kind: 'host', by: 'host-a' };
const timer = (by: string): Cause => ({ kind: 'timer', by });

const TIMINGS = {
  ...{ receivedAt: T0, admittedAt: T0, launchedAt: T0 },
  ...{ vmmEnteredAt: T0, guestRunAt: T0, guestBootedAt: T0 },
};

/** A history that the machine itself has accepted, step by step: time after the first, who, and what. */
function claimsOf(spec: Partial<MicrovmSpec>, steps: readonly (readonly [number, Cause, ...MicrovmEvent[]])[]) {
  const whole: MicrovmSpec = {
    ...{ image: 'canary', vcpus: 2, memoryMiB: 64, cmdline: '', labels: {}, tenant: 'acme' },
    ...{ restartPolicy: 'never', onHostLoss: 'keep', waitSeconds: 5, ...spec },
  };
  const reader = new ClaimReader(() => SHARED);
  let life: MicrovmLife | null = null;
  const birth = [
    { type: 'requested' as const, spec: whole, requestedAt: T0, specHash: 'hash' },
    { type: 'placementStarted' as const },
  ];
  for (const [ms, cause, ...events] of [[0, OPERATOR, ...birth] as const, ...steps]) {
    const decision = decideEvents(life, [...events], { microvmId: ID, commandId: `c${ms}`, cause, at: T0 + ms });
    if (decision.kind !== 'record') throw new Error(`${events[0]!.type} at ${ms}: ${JSON.stringify(decision)}`);
    reader.take(decision.record);
    life = foldMicrovmRecord(life, decision.record, ms + 1);
  }
  return reader.claims;
}

const at = (epoch: number, hostId = 'host-a') => ({ hostId, epoch });
const placed = (epoch = 1, hostId = 'host-a'): MicrovmEvent => ({
  ...{ type: 'placed', ...at(epoch, hostId), receiptId: 'r', decidedAt: T0 },
});
const started = (epoch = 1, hostId = 'host-a'): MicrovmEvent => ({
  ...{ type: 'started', ...at(epoch, hostId), pid: 1, timings: TIMINGS },
});
const exited = (ms: number, reason: Exit['reason'], epoch = 1): MicrovmEvent => ({
  ...{ type: 'exited', ...at(epoch), exit: { reason, message: reason, at: T0 + ms } },
});
const RUNS = [
  [10, OPERATOR, placed()],
  [20, HOST, started()],
] as const;

describe('the claims in a history', () => {
  it('has what was asked, how it went and how long it kept its place, by the clock of its host', () => {
    const [claim, ...others] = claimsOf({}, [...RUNS, [550, HOST, exited(510, 'powerOff')]]);
    expect(others).toEqual([]);
    expect(claim).toMatchObject({
      ...{ microvmId: ID, round: 1, askedAt: T0, waitUntil: T0 + 5_000, follows: false, expiresAt: null },
      demand: { tenant: 'acme', vcpus: 2, memoryMiB: 64 },
      was: { kind: 'placed', hostId: 'host-a', epoch: 1, at: T0 + 10 },
      ending: { kind: 'after', ms: 500 },
    });
  });

  it('does not believe a clock that is far off', () => {
    expect(claimsOf({}, [...RUNS, [550, HOST, exited(-90_000, 'powerOff')]])[0]!.ending).toEqual({
      kind: 'after',
      ms: 540,
    });
  });

  it('knows an end by the time to live for one that was fixed', () => {
    const [claim] = claimsOf({ ttlSeconds: 1 }, [...RUNS, [1_010, HOST, exited(1_002, 'expired')]]);
    expect(claim).toMatchObject({ expiresAt: T0 + 1_000, ending: { kind: 'at', at: T0 + 1_002 } });
  });

  it('knows a stop by its schedule for one that was fixed, and one by an operator for none', () => {
    const stop = { type: 'stopRequested', timeoutMs: 0 } as const;
    const byHand = claimsOf({}, [...RUNS, [300, OPERATOR, stop], [310, HOST, exited(305, 'requested')]]);
    expect(byHand[0]!.ending).toEqual({ kind: 'after', ms: 295 });
    const deleted = claimsOf({}, [
      ...RUNS,
      [300, OPERATOR, { type: 'deleteRequested' }],
      [310, HOST, { type: 'erased', ...at(1) }],
    ]);
    expect(deleted[0]!.ending).toEqual({ kind: 'after', ms: 300 });
    const ttl = claimsOf({ ttlSeconds: 1 }, [
      ...RUNS,
      [1_000, timer('timeToLive'), { type: 'deadlinePassed', timer: 'timeToLive' }],
      [1_005, HOST, { type: 'erased', ...at(1) }],
    ]);
    expect(ttl[0]!.ending).toEqual({ kind: 'at', at: T0 + 1_005 });
  });

  it('knows a refusal with its reason, and who took back what waited', () => {
    const failed = { type: 'placementFailed', reason: 'none of 1 hosts passes', final: true } as const;
    expect(claimsOf({}, [[5, OPERATOR, failed]])[0]).toMatchObject({
      was: { kind: 'refused', reason: 'none of 1 hosts passes', at: T0 + 5 },
      ending: { kind: 'unknown' },
    });
    const waits = { type: 'placementWaits', reason: 'full' } as const;
    const taken = claimsOf({}, [
      [5, OPERATOR, waits],
      [900, OPERATOR, { type: 'deleteRequested' }],
    ]);
    expect(taken[0]!.was).toEqual({ kind: 'withdrawn', at: T0 + 900 });
    expect(claimsOf({}, [[5, OPERATOR, waits]])[0]!.was).toEqual({ kind: 'waiting' });
  });

  it('takes a refusal by a host and the next try for one claim', () => {
    const claims = claimsOf({}, [
      [10, OPERATOR, placed(1, 'host-b')],
      [12, HOST, { type: 'refused', ...at(1, 'host-b'), reason: 'no slot free' }],
      [20, OPERATOR, placed(2)],
      [30, HOST, started(2)],
    ]);
    expect(claims).toHaveLength(1);
    expect(claims[0]).toMatchObject({ askedAt: T0, was: { hostId: 'host-a', at: T0 + 20 }, ending: { kind: 'open' } });
  });

  it('has a claim for every restart, which follows, and for every start by hand, which does not', () => {
    const claims = claimsOf({ restartPolicy: 'on-failure' }, [
      ...RUNS,
      [100, HOST, exited(100, 'panic')],
      [600, timer('wait'), { type: 'deadlinePassed', timer: 'wait' }],
      [610, OPERATOR, placed(2)],
      [620, HOST, started(2)],
      [700, HOST, exited(700, 'powerOff', 2)],
      [900, OPERATOR, { type: 'startRequested', requestedAt: T0 + 900 }],
    ]);
    expect(claims.map(({ round, askedAt, follows }) => [round, askedAt - T0, follows])).toEqual([
      [1, 0, false],
      [2, 600, true],
      [3, 900, false],
    ]);
    expect(claims[1]!.ending).toEqual({ kind: 'after', ms: 90 });
  });

  it('has a claim for going on after a suspension, during which it has no place', () => {
    const claims = claimsOf({}, [
      ...RUNS,
      [100, OPERATOR, { type: 'suspendRequested' }],
      [150, HOST, { type: 'suspended', ...at(1), bytes: 1, pauseMs: 1 }],
      [800, OPERATOR, { type: 'restoreRequested', ...at(2), requestedAt: T0 + 800 }],
      [810, HOST, { type: 'refused', ...at(2), reason: 'no slot free' }],
      [900, OPERATOR, { type: 'restoreRequested', ...at(3), requestedAt: T0 + 900 }],
      [910, HOST, started(3)],
    ]);
    expect(claims.map(({ resumes, was, ending }) => [resumes, was.kind, ending.kind])).toEqual([
      [false, 'placed', 'after'],
      [true, 'refused', 'unknown'],
      [true, 'placed', 'open'],
    ]);
  });

  it('counts what retention has left of a history, and takes nothing from it', () => {
    const reader = new ClaimReader(() => SHARED);
    const events: MicrovmEvent[] = [{ type: 'erased', ...at(1) }];
    reader.take({ microvmId: ID, at: T0, from: 'deleting', to: 'deleted', cause: HOST, events });
    expect([reader.claims.length, reader.fragments]).toEqual([0, 1]);
  });
});
