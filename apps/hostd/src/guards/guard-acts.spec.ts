import type { GuardAct } from '#protocol';
import type { OutboxActs } from '../journal/host-record';
import { GuardActs } from './guard-acts';

const reading = {
  ...{ cpuPressure: null, memoryPressure: null, vcpuWait: null },
  ...{ availableMemory: 11, availableMiB: 110, usableMiB: 1_000 },
};
const turn: GuardAct = { act: 'admission', at: 1, class: 'bestEffort', open: false, reason: 'r', afterMs: 0, reading };
const evict = (n: number): GuardAct => ({
  ...{ act: 'reclaim', at: n, step: 'evict', mib: 0, reason: 'r', reading },
  microvmId: `vm-${n}`,
});

describe('what guards do, for the history', () => {
  const written: OutboxActs[] = [];
  let acts: GuardActs;
  beforeEach(() => {
    jest.useFakeTimers();
    written.length = 0;
    acts = new GuardActs(
      (one) => written.push(one),
      () => performance.now(),
    );
  });
  afterEach(() => jest.useRealTimers());

  it('is one record for what happens together', () => {
    acts.add(turn);
    acts.add(evict(1));
    jest.advanceTimersByTime(1_000);
    expect(written).toEqual([{ factId: expect.any(String) as string, acts: [turn, evict(1)], omitted: 0 }]);
  });

  it('given a storm of a day, then there is a record a minute, and everything is told or counted', () => {
    for (let second = 0; second < 86_400; second += 10) {
      for (let n = 0; n < 20; n++) acts.add(evict(second));
      jest.advanceTimersByTime(10_000);
    }
    acts.stop();
    expect(written.length).toBeGreaterThan(1_400);
    expect(written.length).toBeLessThanOrEqual(1_448);
    const sum = written.reduce((all, one) => all + one.acts.length + one.omitted, 0);
    expect(sum).toBe(8_640 * 20);
  });

  it('given no room, then turns of admission come before what was reclaimed', () => {
    for (let n = 0; n < 60; n++) acts.add(evict(n));
    acts.add(turn);
    acts.stop();
    expect(written[0]!.acts).toHaveLength(50);
    expect(written[0]!.acts.at(-1)).toBe(turn);
    expect(written[0]!.omitted).toBe(11);
  });
});
