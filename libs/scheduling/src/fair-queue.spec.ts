import fc from 'fast-check';
import { FairQueue } from './fair-queue';

const serveAtMost = (queue: FairQueue<string>, places: number): string[] => {
  const served: string[] = [];
  queue.serve((item) => served.length < places && served.push(item) > 0);
  return served;
};

describe('a fair queue', () => {
  it('lets a flood of one tenant delay another by no more than one turn', () => {
    const queue = new FairQueue<string>();
    for (let i = 0; i < 1_000; i++) queue.add('flood', `f${i}`, `flood ${i}`);
    queue.add('quiet', 'q', 'quiet 0');
    expect(serveAtMost(queue, 2)).toEqual(['flood 0', 'quiet 0']);
    queue.add('quiet', 'q', 'quiet 1');
    expect(serveAtMost(queue, 3)).toEqual(['flood 1', 'quiet 1', 'flood 2']);
  });

  it('goes on after the tenant that was served last', () => {
    const queue = new FairQueue<string>();
    for (const tenant of ['a', 'b', 'c']) for (const n of [1, 2]) queue.add(tenant, `${tenant}${n}`, `${tenant}${n}`);
    expect([1, 1, 1, 1, 1, 1].flatMap((places) => serveAtMost(queue, places))).toEqual([
      'a1',
      'b1',
      'c1',
      'a2',
      'b2',
      'c2',
    ]);
  });

  it('passes over a tenant whose first does not fit, and does not let its others overtake', () => {
    const queue = new FairQueue<string>();
    queue.add('a', 'a1', 'large');
    queue.add('a', 'a2', 'small');
    queue.add('b', 'b1', 'small');
    const served: string[] = [];
    queue.serve((item, key) => item === 'small' && served.push(key) > 0);
    expect(served).toEqual(['b1']);
    expect(queue.get('a2')).toBe('small');
  });

  it('serves every tenant in order, and between any two that wait as often, give or take one', () => {
    const arrivals = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 60 });
    fc.assert(
      fc.property(arrivals, fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 20 }), (tenants, batches) => {
        const queue = new FairQueue<string>();
        const lines = new Map<string, string[]>();
        tenants.forEach((tenant, i) => {
          queue.add(tenant, `${i}`, `${tenant} ${i}`);
          lines.set(tenant, [...(lines.get(tenant) ?? []), `${tenant} ${i}`]);
        });
        const served = batches.flatMap((places) => serveAtMost(queue, places));
        for (const [tenant, line] of lines) {
          const mine = served.filter((item) => item.startsWith(tenant));
          expect(mine).toEqual(line.slice(0, mine.length));
          for (const [other, otherLine] of lines) {
            const theirs = served.filter((item) => item.startsWith(other));
            const bothWait = mine.length < line.length && theirs.length < otherLine.length;
            if (bothWait) expect(Math.abs(mine.length - theirs.length)).toBeLessThanOrEqual(1);
          }
        }
        expect(queue.size).toBe(tenants.length - served.length);
      }),
    );
  });

  it('forgets who leaves', () => {
    const queue = new FairQueue<string>();
    queue.add('a', 'k', 'item');
    expect(queue.isEmptyFor('a')).toBe(false);
    expect(queue.remove('k')).toBe('item');
    expect(queue.remove('k')).toBeUndefined();
    expect([queue.isEmptyFor('a'), queue.size, queue.get('k')]).toEqual([true, 0, undefined]);
  });
});
