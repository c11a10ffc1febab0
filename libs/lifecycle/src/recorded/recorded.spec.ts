import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MicrovmRecord, type Microvm } from '#protocol';
import { decideEvents } from '../microvm/microvm.decider';
import { EVENTS, occasion, live } from '../microvm/microvm.fixtures';
import { foldMicrovmRecord, viewMicrovm, type MicrovmLife } from '../microvm/microvm.fold';
import { MICROVM_MACHINE_VERSION } from '../microvm/microvm.versions';

interface Recorded {
  records: { sequence: number; record: unknown }[];
  /** What the version of the machine that wrote them made of them. */
  views: Microvm[];
}

const recordings = readdirSync(__dirname)
  .filter((name) => name.endsWith('.json'))
  .map((name) => [name, JSON.parse(readFileSync(join(__dirname, name), 'utf8')) as Recorded] as const);

// Written by real fleets under fire. Never edit or replace them: old histories do not change either.
describe.each(recordings)('%s', (_, { records, views }) => {
  const lives = new Map<string, MicrovmLife>();
  for (const { record: json, sequence } of records) {
    const record = MicrovmRecord.parse(json);
    lives.set(record.microvmId, foldMicrovmRecord(lives.get(record.microvmId) ?? null, record, sequence));
  }

  it('folds to what it was when it was written', () => {
    for (const view of views) expect(viewMicrovm(lives.get(view.id)!)).toMatchObject(view);
    expect(lives.size).toBe(views.length);
  });

  it('goes on under the machine of today, record by record', () => {
    for (const life of lives.values()) {
      if (life.isOver) continue;
      const decision = decideEvents(life, [{ type: 'deleteRequested' }], { ...occasion(Date.now()), microvmId: life.id });
      if (decision.kind === 'nothing') continue; // on its way already
      if (decision.kind !== 'record') throw new Error(`${life.id} is ${life.state}: ${decision.kind}`);
      expect(decision.record.machine).toBe(MICROVM_MACHINE_VERSION);
      expect(foldMicrovmRecord(life, decision.record, life.revision + 1).state).toMatch(/^delet/);
    }
  });
});

describe('while a controller of version 1 takes part', () => {
  const old = { ...occasion(), machine: 1 };

  it('nothing is written that it could not read', () => {
    const running = live([EVENTS.requested(), EVENTS.placementStarted, EVENTS.placed, EVENTS.started]);
    expect(decideEvents(running, [{ type: 'protectionSet', enabled: true }], old)).toMatchObject({
      kind: 'refused',
      reason: expect.stringContaining('finish the upgrade') as string,
    });
    expect(decideEvents(null, [EVENTS.requested({ waitSeconds: 5 })], old).kind).toBe('refused');
    expect(decideEvents(running, [EVENTS.exited('idle')], old).kind).toBe('refused');
  });

  it('events mean what they meant to it', () => {
    const events = [EVENTS.requested({ onHostLoss: 'reschedule' }), EVENTS.placementStarted, EVENTS.placed, EVENTS.started];
    const absent = { type: 'absent' as const, hostId: 'host-a', epoch: 1, reason: 'gone' };
    const states = [1, 2].map((machine) => {
      const decision = decideEvents(live(events), [absent], { ...occasion(), machine });
      return decision.kind === 'record' && [decision.record.machine, decision.record.to];
    });
    expect(states).toEqual([
      [1, 'failed'],
      [2, 'placing'],
    ]);
  });
});
