import { microvmContext, microvmState } from './microvm.fold';
import { decideCommand, decideEvents } from './microvm.decider';
import { EVENTS, HOST, live, liveUntilRunning, occasion, T0 } from './microvm.fixtures';

const AGAIN = { hostId: HOST, epoch: 2 };
const suspend = (change = {}) => live([{ type: 'suspendRequested' }, EVENTS.suspended], liveUntilRunning(change));

describe('suspending', () => {
  it('asks the host, and rests with nothing running once its memory is on the disk', () => {
    const suspending = live([{ type: 'suspendRequested' }], liveUntilRunning());
    expect(suspending.outstanding).toEqual([{ type: 'suspendOnHost', hostId: HOST, epoch: 1 }]);
    const suspended = live([EVENTS.suspended], suspending);
    expect(microvmState(suspended)).toBe('suspended');
    expect(microvmContext(suspended)).toMatchObject({ hostId: HOST, epoch: 1, pid: null, network: null, reason: null });
    expect([...suspended.timers].map(({ name }) => name)).toEqual(['review']);
  });

  it('says why the host did it on its own account', () => {
    const idle = live([{ ...EVENTS.suspended, reason: 'nobody used it' }], liveUntilRunning());
    expect([microvmState(idle), microvmContext(idle).reason]).toEqual(['suspended', 'nobody used it']);
  });

  it('runs on when it cannot be done, and asks whether it does', () => {
    const suspending = live([{ type: 'suspendRequested' }], liveUntilRunning());
    const failed = {
      type: 'commandFailed' as const,
      hostId: HOST,
      epoch: 1,
      command: 'suspend' as const,
      reason: 'disk full',
    };
    const running = live([failed], suspending);
    expect([microvmState(running), microvmContext(running).reason]).toEqual(['running', 'disk full']);
    const late = decideEvents(
      suspending,
      [{ type: 'deadlinePassed', timer: 'snapshotDeadline' }],
      occasion(T0 + 90_000),
    );
    expect(late).toMatchObject({ kind: 'record', record: { to: 'running' } });
    expect(late.kind === 'record' && late.advance.effects).toEqual([{ type: 'verifyOnHost', hostId: HOST, epoch: 1 }]);
  });
});

describe('a suspended microVM', () => {
  it.each(['resume', 'start'] as const)('goes on as the next incarnation on the same host by %s', (type) => {
    const decision = decideCommand(suspend(), { type, requestedAt: T0 + 5 }, occasion(T0 + 10));
    expect(decision).toMatchObject({ kind: 'record', record: { to: 'restoring' } });
    if (decision.kind !== 'record') return;
    expect(decision.record.events).toEqual([{ type: 'restoreRequested', ...AGAIN, requestedAt: T0 + 5 }]);
    expect(decision.advance.effects).toMatchObject([{ type: 'restoreOnHost', ...AGAIN }]);
    const running = live([{ ...EVENTS.started, ...AGAIN }], { ...decision.advance.life, id: 'x', revision: 1 });
    expect([microvmState(running), microvmContext(running).epoch]).toEqual(['running', 2]);
  });

  it('says in its history what woke it, where nobody asked for it', () => {
    const woken = 'woken by a connection to TCP port 80 of its host';
    const decision = decideCommand(suspend(), { type: 'start', requestedAt: T0 + 5, woken }, occasion(T0 + 10));
    expect(decision.kind === 'record' && decision.record.events).toMatchObject([
      { type: 'restoreRequested', reason: woken },
    ]);
  });

  it('stays suspended when its host has no room for it, and can be asked again', () => {
    const refused = live([EVENTS.restoreRequested, { type: 'refused', ...AGAIN, reason: 'no slot free' }], suspend());
    expect(microvmState(refused)).toBe('suspended');
    expect(microvmContext(refused).reason).toBe('it could not go on: no slot free');
    const decision = decideCommand(refused, { type: 'resume', requestedAt: T0 }, occasion(T0 + 20));
    expect(decision.kind === 'record' && decision.record.events).toMatchObject([{ epoch: 3 }]);
  });

  it('says that its host does not answer, and fails when its host will not return or no longer has its memory', () => {
    const away = live([EVENTS.hostLost], suspend({ onHostLoss: 'reschedule' }));
    expect([microvmState(away), microvmContext(away).reason]).toEqual(['suspended', `host ${HOST} does not answer`]);
    const back = live([{ type: 'observed', hostId: HOST, epoch: 1, as: 'suspended', reason: 'asked' }], away);
    expect(microvmContext(back).reason).toBeNull();
    const gone = live([{ type: 'hostGone', hostId: HOST, reason: 'retired' }], away);
    expect([microvmState(gone), microvmContext(gone).reason]).toEqual(['failed', 'retired']);
    const lost = live(
      [{ type: 'absent', hostId: HOST, epoch: 1, reason: 'nothing here' }],
      suspend({ restartPolicy: 'always' }),
    );
    expect(microvmState(lost)).toBe('failed');
  });

  it('is found suspended where its host was told to let it go on and did not hear of it', () => {
    const lost = live([EVENTS.restoreRequested, EVENTS.hostLost], suspend());
    expect(microvmState(lost)).toBe('unreachable');
    const found = live([{ type: 'observed', ...AGAIN, as: 'suspended', reason: 'asked' }], lost);
    expect(microvmState(found)).toBe('suspended');
  });
});

describe('making a template', () => {
  const asked = (afterwards: 'resume' | 'end', life = liveUntilRunning()) =>
    live([{ type: 'snapshotRequested', templateId: 't', afterwards }], life);

  it('asks the host, and goes on as it was, or ends', () => {
    expect(asked('resume').outstanding).toEqual([{ type: 'snapshotOnHost', hostId: HOST, epoch: 1, templateId: 't' }]);
    const outcomes = [
      live([EVENTS.snapshotTaken('running')], asked('resume')),
      live([EVENTS.snapshotTaken('paused')], asked('resume')),
      live([EVENTS.snapshotTaken('paused')], asked('end')),
    ].map((life) => [microvmState(life), microvmContext(life).snapshot?.taken?.bytes]);
    expect(outcomes).toEqual([
      ['running', 1],
      ['paused', 1],
      ['stopping', 1],
    ]);
  });

  it('remembers why there is none, and asks what it does now', () => {
    const failed = {
      type: 'commandFailed' as const,
      hostId: HOST,
      epoch: 1,
      command: 'snapshot' as const,
      reason: 'disk full',
    };
    const life = live([failed], asked('end'));
    expect([microvmState(life), microvmContext(life).snapshot?.failed]).toEqual(['running', 'disk full']);
    const late = live([{ type: 'deadlinePassed', timer: 'snapshotDeadline' }], asked('resume'));
    expect(microvmContext(late).snapshot?.failed).toContain('in time');
  });

  it('takes the word of a host that was away meanwhile, and of no other template', () => {
    const away = live([EVENTS.hostLost], asked('resume'));
    expect(microvmState(live([EVENTS.snapshotTaken()], away))).toBe('running');
    const other = { ...EVENTS.snapshotTaken(), templateId: 'other' };
    expect(decideEvents(asked('resume'), [other as never], occasion()).kind).not.toBe('record');
  });

  it('is refused while a controller takes part that could not read it', () => {
    const old = { ...occasion(), machine: 2 };
    const { kind } = decideCommand(liveUntilRunning(), { type: 'snapshot', templateId: 't', afterwards: 'end' }, old);
    expect(kind).toBe('refused');
    expect(decideCommand(liveUntilRunning(), { type: 'suspend' }, old).kind).toBe('refused');
    expect(decideEvents(null, [EVENTS.requested({ template: 't' })], old).kind).toBe('refused');
  });
});
