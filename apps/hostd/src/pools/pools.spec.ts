import pino from 'pino';
import type { PoolPolicy } from '#protocol';
import { ArrivalRate } from './arrival-rate';
import { poolSize } from './pool-size';
import { WarmPools } from './warm-pools';

const policy = (change: Partial<PoolPolicy> = {}): PoolPolicy => ({ min: 0, max: 100, quietSeconds: 60, ...change });

describe('the size of a pool', () => {
  const demand = { perSecond: 100, makeS: 0.04, quietS: 0 };

  it("is what is claimed while one is made (Little's law), and headroom by the square root", () => {
    expect(poolSize(policy(), demand)).toBe(Math.ceil(4 + 3 * 2));
    expect(poolSize(policy(), { ...demand, perSecond: 400 })).toBe(Math.ceil(16 + 3 * 4));
    expect(poolSize(policy(), { ...demand, perSecond: 0.001 })).toBe(1);
  });

  it('stays within its bounds, and falls to the least when it is quiet', () => {
    expect(poolSize(policy({ max: 3 }), demand)).toBe(3);
    expect(poolSize(policy({ min: 20 }), demand)).toBe(20);
    expect(poolSize(policy(), { ...demand, quietS: 61 })).toBe(0);
    expect(poolSize(policy({ min: 2 }), { ...demand, quietS: 61 })).toBe(2);
    expect(poolSize(policy(), { ...demand, perSecond: 0, quietS: Infinity })).toBe(0);
    expect(poolSize(policy({ max: 0 }), demand)).toBe(0);
  });
});

describe('a rate of arrivals', () => {
  it('comes to what it is, and fades', () => {
    const rate = new ArrivalRate();
    expect([rate.perSecond(5), rate.quietS(5)]).toEqual([0, Infinity]);
    for (let at = 0; at < 300; at += 0.1) rate.arrived(at);
    expect(rate.perSecond(300)).toBeGreaterThan(9);
    expect(rate.perSecond(300)).toBeLessThan(11);
    expect(rate.perSecond(600)).toBeLessThan(0.01);
    expect(rate.quietS(600)).toBeCloseTo(300, 0);
  });
});

describe('warm pools', () => {
  let nowS: number;
  let kept: Record<string, number>[];
  let pools: WarmPools;
  beforeEach(() => {
    nowS = 0;
    kept = [];
    pools = new WarmPools({
      keep: (wanted) => kept.push(Object.fromEntries(wanted)),
      makeS: () => 0.04,
      most: 12,
      nowS: () => nowS,
      log: pino({ level: 'silent' }),
    });
  });

  it('follow the demand of each template, together no more than the host allows, and end with their policy', () => {
    pools.setPolicies(
      new Map([
        ['a', policy({ min: 2 })],
        ['b', policy()],
      ]),
    );
    expect(kept.at(-1)).toEqual({ a: 2 });
    for (; nowS < 120; nowS += 0.01) pools.arrived('b');
    pools.adjust();
    expect(kept.at(-1)).toEqual({ a: 2, b: 10 });
    pools.setPolicies(new Map([['b', policy({ max: 5 })]]));
    expect(kept.at(-1)).toEqual({ b: 5 });
    nowS += 61;
    pools.adjust();
    expect(kept.at(-1)).toEqual({});
    pools.arrived('nobody keeps these');
    pools.adjust();
    expect(kept.at(-1)).toEqual({});
  });
});
