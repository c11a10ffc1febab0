import fc from 'fast-check';
import type { Microvm, MicrovmStateName } from '#protocol';
import { FleetStore } from './fleet.store';
import { aHost, aMicrovm } from './fixtures';

describe('FleetStore', () => {
  it('keeps the newest view, whatever order they come in', () => {
    const views: Microvm[] = (['requested', 'placing', 'starting', 'running', 'stopping', 'stopped'] as const).map(
      (state: MicrovmStateName, index) => aMicrovm({ id: 'a', state, revision: 10 + index * 3 }),
    );
    fc.assert(
      fc.property(fc.shuffledSubarray([...views, ...views], { minLength: 1 }), (arrived) => {
        const store = new FleetStore();
        for (const view of arrived) store.putMicrovm(view);
        const newest = Math.max(...arrived.map((view) => view.revision));
        expect(store.find('a')?.revision).toBe(newest);
      }),
    );
  });

  it('moves a deleted one out of the living and never back', () => {
    const store = new FleetStore();
    store.putMicrovm(aMicrovm({ id: 'a', revision: 1 }));
    store.putMicrovm(aMicrovm({ id: 'a', state: 'deleted', revision: 5 }));
    expect(store.putMicrovm(aMicrovm({ id: 'a', state: 'running', revision: 4 }))).toBe(false);
    expect(store.microvms.size).toBe(0);
    expect(store.deleted.get('a')?.state).toBe('deleted');
  });

  it('forgets, after a reading, who was not mentioned, but nobody the stream mentioned meanwhile', () => {
    const store = new FleetStore();
    for (const id of ['gone', 'listed', 'streamed']) store.putMicrovm(aMicrovm({ id, revision: 1 }));
    store.beginReading();
    store.putMicrovm(aMicrovm({ id: 'listed', revision: 1 }));
    store.putMicrovm(aMicrovm({ id: 'streamed', revision: 2 }));
    store.putMicrovm(aMicrovm({ id: 'born', revision: 3 }));
    store.endReading();
    expect([...store.microvms.keys()].sort()).toEqual(['born', 'listed', 'streamed']);
    expect(store.complete).toBe(true);
  });

  it('forgets nobody when a reading is abandoned', () => {
    const store = new FleetStore();
    store.putMicrovm(aMicrovm({ id: 'a', revision: 1 }));
    store.beginReading();
    store.abandonReading();
    store.endReading();
    expect(store.microvms.size).toBe(1);
    expect(store.complete).toBe(false);
  });

  it('tells listeners of changes only', () => {
    const store = new FleetStore();
    let calls = 0;
    const stop = store.subscribe(() => calls++);
    store.putMicrovm(aMicrovm({ id: 'a', revision: 2 }));
    store.putMicrovm(aMicrovm({ id: 'a', revision: 2 }));
    store.putHost(aHost({ id: 'h', revision: 1 }));
    store.putHost(aHost({ id: 'h', revision: 1 }));
    expect([calls, store.version]).toEqual([2, 2]);
    stop();
    store.putMicrovm(aMicrovm({ id: 'a', revision: 3 }));
    expect(calls).toBe(2);
  });

  it('remembers a bounded number of deleted ones', () => {
    const store = new FleetStore();
    for (let i = 0; i < 2_500; i++) store.putMicrovm(aMicrovm({ id: `d${i}`, state: 'deleted', revision: i + 1 }));
    expect(store.deleted.size).toBe(2_000);
    expect(store.find('d2499')).toBeDefined();
    expect(store.find('d0')).toBeUndefined();
  });
});
