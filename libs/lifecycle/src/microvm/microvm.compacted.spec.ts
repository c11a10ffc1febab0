import { sortableId, type MicrovmRecord } from '#protocol';
import { decideEvents } from './microvm.decider';
import { CAUSE, EVENTS, HOST, T0 } from './microvm.fixtures';
import { foldMicrovmRecord, microvmState, viewMicrovm, type MicrovmLife } from './microvm.fold';

const ID = sortableId(T0, new Uint8Array(10));

/** A whole life, record by record. */
function history(): MicrovmRecord[] {
  const records: MicrovmRecord[] = [];
  let life: MicrovmLife | null = null;
  [
    [EVENTS.requested(), EVENTS.placementStarted],
    [EVENTS.placed],
    [EVENTS.started],
    [{ type: 'deleteRequested' as const }],
    [{ type: 'erased' as const, hostId: HOST, epoch: 1 }],
  ].forEach((events, i) => {
    const occasion = { microvmId: ID, commandId: `c${i}`, cause: CAUSE, at: T0 + i };
    const decision = decideEvents(life, events, occasion);
    if (decision.kind !== 'record') throw new Error(decision.kind);
    records.push(decision.record);
    life = foldMicrovmRecord(life, decision.record, i + 1);
  });
  return records;
}

describe('a compacted history', () => {
  const records = history();
  const tombstone = records.at(-1)!;

  it('folds to a deleted microVM of which nothing else is known', () => {
    const life = foldMicrovmRecord(null, tombstone, 5);
    expect(viewMicrovm(life)).toMatchObject({
      id: ID,
      state: 'deleted',
      tenant: '',
      image: 'unknown',
      createdAt: new Date(T0).toISOString(),
      updatedAt: new Date(T0 + 4).toISOString(),
      revision: 5,
    });
    expect([life.timers.size, life.outstanding.length, life.isOver]).toEqual([0, 0, true]);
  });

  it('folds to the same for a reader that was overtaken anywhere on its way', () => {
    const alone = foldMicrovmRecord(null, tombstone, 5);
    for (let seen = 1; seen < records.length - 1; seen++) {
      const part = records.slice(0, seen).reduce<MicrovmLife | null>((l, r, i) => foldMicrovmRecord(l, r, i + 1), null);
      expect(viewMicrovm(foldMicrovmRecord(part, tombstone, 5))).toEqual(viewMicrovm(alone));
    }
  });

  it('is not taken for a life again: its id accepts nothing', () => {
    const life = foldMicrovmRecord(null, tombstone, 5);
    const occasion = { microvmId: ID, commandId: 'again', cause: CAUSE, at: T0 + 9 };
    expect(decideEvents(life, [EVENTS.requested()], occasion)).toEqual({ kind: 'refused', state: 'deleted' });
    expect(() => foldMicrovmRecord(life, tombstone, 6)).toThrow('recorded in deleting, folded deleted');
  });

  it('excuses nothing but an end', () => {
    expect(() => foldMicrovmRecord(null, records[2]!, 3)).toThrow('recorded in starting, folded null');
    expect(microvmState(records.reduce<MicrovmLife | null>((l, r, i) => foldMicrovmRecord(l, r, i + 1), null)!)).toBe(
      'deleted',
    );
  });
});
