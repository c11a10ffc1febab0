import fc from 'fast-check';
import { coresidencyOf } from './coresidency';
import type { Stay } from './residency';

const END = 30;

const stay: fc.Arbitrary<Stay> = fc
  .record({
    microvmId: fc.constantFrom('m1', 'm2', 'm3', 'm4', 'm5', 'm6'),
    hostId: fc.constantFrom('host-a', 'host-b'),
    epoch: fc.integer({ min: 1, max: 3 }),
    from: fc.integer({ min: 0, max: END }),
    length: fc.option(fc.integer({ min: 0, max: 12 })),
  })
  .map(({ length, ...rest }) => ({
    ...rest,
    tenant: `tenant-${Math.ceil(Number(rest.microvmId[1]) / 2)}`, // two microVMs each
    to: length === null ? null : rest.from + length,
  }));

/** The obvious way: look at every tick, on every host, who is there. */
function naive(tenant: string, stays: readonly Stay[], from: number, to: number): Set<string> {
  const seen = new Set<string>();
  for (let tick = from; tick < to; tick++) {
    for (const hostId of ['host-a', 'host-b']) {
      const there = stays.filter((s) => s.hostId === hostId && s.from <= tick && tick < (s.to ?? Infinity));
      const own = there.filter((s) => s.tenant === tenant);
      const others = there.filter((s) => s.tenant !== tenant);
      if (own.length === 0 || others.length === 0) continue;
      seen.add(`${hostId} shared ${tick}`);
      for (const { microvmId } of own) seen.add(`${hostId} own ${microvmId}`);
      for (const other of others) seen.add(`${hostId} ${other.tenant} ${other.microvmId} ${tick}`);
    }
  }
  return seen;
}

describe('coresidencyOf', () => {
  it('is what looking at every tick gives', () => {
    const instant = fc.integer({ min: 0, max: END + 5 });
    fc.assert(
      fc.property(fc.array(stay, { maxLength: 14 }), instant, instant, (stays, a, b) => {
        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        const seen = new Set<string>();
        for (const { hostId, spans, own, others } of coresidencyOf('tenant-1', stays, { from, to })) {
          const ticks = (list: typeof spans): number[] =>
            list.flatMap((s) => Array.from({ length: s.to - s.from }, (_, i) => s.from + i));
          for (const tick of ticks(spans)) seen.add(`${hostId} shared ${tick}`);
          for (const id of own) seen.add(`${hostId} own ${id}`);
          for (const { tenant, microvms } of others) {
            for (const { id, spans } of microvms) {
              for (const tick of ticks(spans)) seen.add(`${hostId} ${tenant} ${id} ${tick}`);
            }
          }
        }
        expect(seen).toEqual(naive('tenant-1', stays, from, to));
      }),
      { numRuns: 1_000 },
    );
  });

  it('gives spans that are disjoint, in order and not empty', () => {
    fc.assert(
      fc.property(fc.array(stay, { maxLength: 20 }), (stays) => {
        for (const { spans, others } of coresidencyOf('tenant-2', stays, { from: 0, to: END })) {
          for (const list of [spans, ...others.flatMap(({ microvms }) => microvms.map((one) => one.spans))]) {
            expect(list.length).toBeGreaterThan(0);
            list.forEach(({ from, to }, i) => {
              expect(from).toBeLessThan(to);
              if (i > 0) expect(from).toBeGreaterThan(list[i - 1]!.to);
            });
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});
