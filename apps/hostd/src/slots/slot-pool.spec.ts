import fc from 'fast-check';
import { SlotPool } from './slot-pool';

describe('free slots', () => {
  it('are given lowest first, and again when they come back', () => {
    const pool = new SlotPool(3);
    expect([pool.take('plain'), pool.take('plain')]).toEqual([0, 1]);
    pool.give(0);
    expect([pool.take('plain'), pool.take('plain'), pool.take('plain')]).toEqual([0, 2, undefined]);
  });

  it('serve a start with what it needs, and keep from it what it does not', () => {
    const pool = new SlotPool(6);
    pool.note(1, { tap: true });
    pool.note(2, { tap: true, shell: true });
    pool.note(3, { shell: true });
    expect([1, 2, 3, 4, 5, 6].map(() => pool.take('network'))).toEqual([2, 1, 3, 0, 4, 5]);
    for (let n = 0; n < 6; n++) pool.give(n);
    expect([1, 2, 3, 4, 5, 6].map(() => pool.take('plain'))).toEqual([3, 2, 0, 4, 5, 1]);
  });

  it('are not given beyond the limit, nor twice', () => {
    const pool = new SlotPool(4);
    expect(pool.claim(2)).toBe(true);
    expect(pool.claim(2)).toBe(false);
    expect(pool.claim(9)).toBe(false);
    expect([pool.take('network', 2), pool.take('network', 2), pool.take('network', 2)]).toEqual([0, 1, undefined]);
    expect(pool.take('network')).toBe(3);
    pool.give(3);
    pool.give(3);
    expect(pool.free).toBe(1);
  });

  it('are always the lowest of the best kind, whatever happened before', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('take' as const), wants: fc.constantFrom('network' as const, 'plain' as const) }),
      fc.record({ do: fc.constant('give' as const), n: fc.nat(9) }),
      fc.record({ do: fc.constant('note' as const), n: fc.nat(9), tap: fc.boolean(), shell: fc.boolean() }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const pool = new SlotPool(10);
        const model = Array.from({ length: 10 }, () => ({ free: true, tap: false, shell: false }));
        const cost = {
          network: (s: { tap: boolean; shell: boolean }) => (s.tap ? 0 : 2) + (s.shell ? 0 : 1),
          plain: (s: { tap: boolean; shell: boolean }) => (s.shell ? 0 : 2) + (s.tap ? 1 : 0),
        };
        for (const one of steps) {
          if (one.do === 'take') {
            const best = model
              .map((s, n) => ({ ...s, n }))
              .filter(({ free }) => free)
              .sort((a, b) => cost[one.wants](a) - cost[one.wants](b) || a.n - b.n)[0];
            expect(pool.take(one.wants)).toBe(best?.n);
            if (best) model[best.n]!.free = false;
          } else if (one.do === 'give') {
            pool.give(one.n);
            model[one.n]!.free = true;
          } else {
            pool.note(one.n, one);
            Object.assign(model[one.n]!, { tap: one.tap, shell: one.shell });
          }
        }
        expect(pool.free).toBe(model.filter(({ free }) => free).length);
      }),
    );
  });
});
