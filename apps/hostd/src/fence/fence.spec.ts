import { Fence } from './fence';

describe('the fence beside an agent', () => {
  let now = 0;
  let lease = 6_000;
  let agentLives = true;
  let ended: number[] = [];
  const make = (): Fence => {
    now = 0;
    lease = 6_000;
    agentLives = true;
    ended = [];
    return new Fence({
      leaseEnd: () => lease,
      nowMs: () => now,
      endMovable: () => void ended.push(now),
      agentLives: () => agentLives,
    });
  };
  /** Lets it work until that time; resolves with whether it still does. */
  const runTo = (fence: Fence, ms: number): boolean => {
    for (;;) {
      const wait = fence.step();
      if (wait === undefined) return false;
      if (now + wait > ms) return true;
      now += wait;
    }
  };

  it('does nothing while the lease is renewed', () => {
    const fence = make();
    for (let at = 1_000; at < 60_000; at += 1_000) {
      expect(runTo(fence, at)).toBe(true);
      now = at;
      lease = at + 6_000;
    }
    expect(ended).toEqual([]);
  });

  it('ends what may move shortly after the end of the lease, whatever its agent does, and looks again', () => {
    expect(runTo(make(), 60_000)).toBe(true);
    expect(ended).toEqual([6_500, 7_500, 8_500]);
  });

  it('does so for each lease that ends', () => {
    const fence = make();
    runTo(fence, 20_000);
    now = 20_000;
    lease = 26_000;
    runTo(fence, 40_000);
    expect(ended).toHaveLength(6);
    expect(ended[3]).toBeGreaterThanOrEqual(26_500);
  });

  it('stays until then when its agent has ended, and no longer', () => {
    const fence = make();
    agentLives = false;
    expect(runTo(fence, 60_000)).toBe(false);
    expect(ended).toHaveLength(3);
  });
});
