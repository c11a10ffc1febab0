import fc from 'fast-check';
import { MICROVM_STATES, type MicrovmEvent, type MicrovmRecord } from '#protocol';
import { decideCommand, decideEvents, type Decision, type MicrovmCommand } from './microvm.decider';
import { foldMicrovmRecord, microvmContext, microvmState, viewMicrovm, type MicrovmLife } from './microvm.fold';
import { EVENTS, HOST, occasion, T0, TIMINGS } from './microvm.fixtures';

const hostId = fc.constantFrom(HOST, 'host-b');
const epoch = fc.integer({ min: 1, max: 4 });
const incarnation = fc.record({ hostId, epoch });

/** Any event at any time, for any incarnation: what a hostile or confused peer could send. */
const anyEvent: fc.Arbitrary<MicrovmEvent> = fc.oneof(
  fc.constantFrom<MicrovmEvent>(
    { type: 'placementStarted' },
    { type: 'pauseRequested' },
    { type: 'resumeRequested' },
    { type: 'stopRequested', timeoutMs: 500 },
    { type: 'killRequested' },
    { type: 'suspendRequested' },
    { type: 'snapshotRequested', templateId: 't', afterwards: 'resume' },
    { type: 'snapshotRequested', templateId: 't', afterwards: 'end' },
    { type: 'moveRequested', to: 'host-b', receiptId: 'r', graceMs: 500 },
    { type: 'startRequested', requestedAt: T0 },
    { type: 'deleteRequested' },
    { type: 'protectionSet', enabled: true },
    { type: 'protectionSet', enabled: false },
  ),
  fc
    .constantFrom(
      ...[
        'wait',
        'placementDeadline',
        'startDeadline',
        'pauseDeadline',
        'stopDeadline',
        'snapshotDeadline',
        'eraseDeadline',
        'leaseMargin',
        'review',
        'timeToLive',
        'scheduledStart',
        'scheduledStop',
        'nonsense',
      ],
    )
    .map((timer): MicrovmEvent => ({ type: 'deadlinePassed', timer })),
  incarnation.map((i): MicrovmEvent => ({ type: 'placed', ...i, receiptId: 'r', decidedAt: T0 })),
  fc.constant<MicrovmEvent>({ type: 'placementWaits', reason: 'no room yet' }),
  fc.boolean().map((final): MicrovmEvent => ({ type: 'placementFailed', reason: 'no room', final })),
  incarnation.map((i): MicrovmEvent => ({ type: 'refused', ...i, reason: 'full' })),
  incarnation.map((i): MicrovmEvent => ({ type: 'started', ...i, pid: 1, timings: TIMINGS })),
  incarnation.map((i): MicrovmEvent => ({ type: 'pausedOnHost', ...i })),
  incarnation.map((i): MicrovmEvent => ({ type: 'resumedOnHost', ...i })),
  incarnation.map((i): MicrovmEvent => ({ type: 'suspended', ...i, bytes: 1, pauseMs: 1 })),
  incarnation.map((i): MicrovmEvent => ({ type: 'restoreRequested', ...i, requestedAt: T0 })),
  fc
    .tuple(incarnation, fc.constantFrom('running' as const, 'paused' as const))
    .map(([i, as]): MicrovmEvent => EVENTS.snapshotTaken(as, i)),
  incarnation.map((i): MicrovmEvent => ({ type: 'commandFailed', ...i, command: 'pause', reason: 'no' })),
  fc
    .tuple(
      incarnation,
      fc.constantFrom('starting' as const, 'running' as const, 'paused' as const, 'suspended' as const),
    )
    .map(([i, as]): MicrovmEvent => ({ type: 'observed', ...i, as, reason: 'seen' })),
  fc
    .tuple(
      incarnation,
      fc.constantFrom(
        'powerOff' as const,
        'panic' as const,
        'killed' as const,
        'expired' as const,
        'idle' as const,
        'fenced' as const,
      ),
    )
    .map(([i, reason]): MicrovmEvent => ({ type: 'exited', ...i, exit: { reason, message: reason, at: T0 } })),
  incarnation.map((i): MicrovmEvent => ({ type: 'absent', ...i, reason: 'not here' })),
  incarnation.map((i): MicrovmEvent => ({ type: 'erased', ...i })),
  hostId.map((id): MicrovmEvent => ({ type: 'hostLost', hostId: id })),
  hostId.map((id): MicrovmEvent => ({ type: 'hostGone', hostId: id, reason: 'retired' })),
);

const anySpec = fc.record({
  restartPolicy: fc.constantFrom('never' as const, 'on-failure' as const, 'always' as const),
  onHostLoss: fc.constantFrom('keep' as const, 'reschedule' as const),
  deleteProtection: fc.boolean(),
  ttlSeconds: fc.constantFrom(1, 3_600),
  maxRestarts: fc.constantFrom(0, 2),
  schedule: fc.constantFrom({ start: '* * * * *', stop: '*/2 * * * *' }, { stop: '0 0 1 1 *' }),
});

function grow(change: Parameters<typeof EVENTS.requested>[0], events: readonly MicrovmEvent[]) {
  const records: MicrovmRecord[] = [];
  let life: MicrovmLife | null = null;
  let sequence = 0;
  const take = (decision: Decision): void => {
    if (decision.kind !== 'record') return;
    records.push(decision.record);
    life = { ...decision.advance.life, id: decision.record.microvmId, revision: ++sequence };
  };
  take(decideEvents(null, [EVENTS.requested(change), { type: 'placementStarted' }], occasion()));
  events.forEach((event, i) => take(decideEvents(life, [event], occasion(T0 + 1 + i))));
  return { life: life as unknown as MicrovmLife, records };
}

/** The same without protection; one whose time to live is over is being deleted by then. */
function lifted(life: MicrovmLife): MicrovmLife {
  const decision = decideCommand(life, { type: 'protect', enabled: false }, occasion(T0 + 1_000));
  return decision.kind === 'record' ? { ...decision.advance.life, id: life.id, revision: life.revision + 1 } : life;
}

describe('any sequence of events', () => {
  it('keeps a microVM in a known state with a deadline and a way to deleted', () => {
    fc.assert(
      fc.property(anySpec, fc.array(anyEvent, { maxLength: 60 }), (change, events) => {
        const { life } = grow(change, events);
        const state = microvmState(life);
        expect(MICROVM_STATES).toContain(state);
        if (state === 'deleted') return;
        expect(life.timers.size).toBeGreaterThan(0);
        const decision = decideCommand(lifted(life), { type: 'delete' }, occasion());
        expect(decision.kind).toBe(['deleting', 'deleted'].includes(microvmState(lifted(life))) ? 'nothing' : 'record');
      }),
      { numRuns: 500 },
    );
  });

  it('never lets the epoch fall, nor rise by more than one, and never leaves deleted', () => {
    fc.assert(
      fc.property(anySpec, fc.array(anyEvent, { maxLength: 60 }), (change, events) => {
        const { records } = grow(change, events);
        let life: MicrovmLife | null = null;
        let epochBefore = 0;
        records.forEach((record, i) => {
          expect(life && microvmState(life)).not.toBe('deleted');
          life = foldMicrovmRecord(life, record, i + 1);
          const { epoch: now } = microvmContext(life);
          expect([epochBefore, epochBefore + 1]).toContain(now);
          epochBefore = now;
        });
      }),
      { numRuns: 300 },
    );
  });

  it('folds back to the same life: replay equals live', () => {
    fc.assert(
      fc.property(anySpec, fc.array(anyEvent, { maxLength: 40 }), (change, events) => {
        const { life, records } = grow(change, events);
        const replayed = (JSON.parse(JSON.stringify(records)) as MicrovmRecord[]).reduce<MicrovmLife | null>(
          (folded, record, i) => foldMicrovmRecord(folded, record, i + 1),
          null,
        )!;
        expect(viewMicrovm(replayed)).toEqual(viewMicrovm(life));
        expect([...replayed.timers]).toEqual([...life.timers]);
        expect(replayed.outstanding).toEqual(life.outstanding);
      }),
      { numRuns: 300 },
    );
  });

  it('only lets an incarnation run that was placed last, on the host it was placed on', () => {
    fc.assert(
      fc.property(anySpec, fc.array(anyEvent, { maxLength: 60 }), (change, events) => {
        const { records } = grow(change, events);
        let placedLast: { hostId: string; epoch: number } | undefined;
        for (const { events: recorded } of records) {
          for (const event of recorded) {
            if (event.type === 'placed' || event.type === 'restoreRequested')
              placedLast = { hostId: event.hostId, epoch: event.epoch };
            if (event.type === 'started') expect({ hostId: event.hostId, epoch: event.epoch }).toEqual(placedLast);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it('refuses a record that the machine would not have written', () => {
    const { records } = grow({}, [EVENTS.placed, EVENTS.started]);
    const forged = { ...records[2]!, to: 'stopped' as const };
    const life = records.slice(0, 2).reduce<MicrovmLife | null>((l, r, i) => foldMicrovmRecord(l, r, i + 1), null);
    expect(() => foldMicrovmRecord(life, forged, 3)).toThrow('recorded as stopped, folds to running');
    expect(() => foldMicrovmRecord(life, records[0]!, 3)).toThrow('recorded in null, folded starting');
  });
});

describe('commands', () => {
  it('are refused, accepted or already done, and repeating an accepted one is no error', () => {
    const command = fc.constantFrom<MicrovmCommand>(
      { type: 'pause' },
      { type: 'resume', requestedAt: T0 },
      { type: 'suspend' },
      { type: 'stop', timeoutMs: 100 },
      { type: 'start', requestedAt: T0 },
      { type: 'delete' },
    );
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 40 }), command, (events, asked) => {
        const { life } = grow({}, events);
        const decision = decideCommand(life, asked, occasion());
        if (decision.kind !== 'record') return;
        const after = { ...decision.advance.life, id: life.id, revision: life.revision + 1 };
        expect(decideCommand(after, asked, occasion()).kind).toBe('nothing');
      }),
      { numRuns: 300 },
    );
  });
});
