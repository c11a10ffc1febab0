import fc from 'fast-check';
import { excessOf, QuotaLedger, type Holding } from './quota-ledger';

const holding = fc.record({
  tenant: fc.constantFrom('a', 'b'),
  vcpus: fc.integer({ min: 0, max: 8 }),
  memoryMiB: fc.integer({ min: 0, max: 512 }),
});

describe('QuotaLedger', () => {
  it('always holds the sums of what was said last of each microVM', () => {
    const steps = fc.array(fc.tuple(fc.constantFrom('1', '2', '3', '4'), fc.option(holding, { nil: undefined })));
    fc.assert(
      fc.property(steps, (said) => {
        const ledger = new QuotaLedger();
        const last = new Map<string, Holding>();
        for (const [id, what] of said) {
          ledger.set(id, what);
          if (what) last.set(id, what);
          else last.delete(id);
        }
        for (const tenant of ['a', 'b']) {
          const own = [...last.values()].filter((one) => one.tenant === tenant);
          expect(ledger.sum(tenant)).toEqual({
            microvms: own.length,
            vcpus: own.reduce((sum, { vcpus }) => sum + vcpus, 0),
            memoryMiB: own.reduce((sum, { memoryMiB }) => sum + memoryMiB, 0),
          });
        }
      }),
    );
  });

  it('tells every bound that would be broken, with the numbers, and none that is only met', () => {
    const held = { microvms: 2, vcpus: 3, memoryMiB: 100 };
    const more = { microvms: 1, vcpus: 2, memoryMiB: 28 };
    expect(excessOf({ microvms: 3, vcpus: 5, memoryMiB: 128 }, held, more)).toEqual([]);
    expect(excessOf({ microvms: 2, vcpus: 4 }, held, more)).toEqual([
      { path: 'quotas.microvms', message: '2 of 2 are in use, 1 more were asked for' },
      { path: 'quotas.vcpus', message: '3 of 4 are in use, 2 more were asked for' },
    ]);
    expect(excessOf({}, held, more)).toEqual([]);
  });

  it('refuses nothing for a bound that what is asked for does not touch, though it is exceeded already', () => {
    const held = { microvms: 9, vcpus: 0, memoryMiB: 0 };
    expect(excessOf({ microvms: 2 }, held, { microvms: 0, vcpus: 1, memoryMiB: 1 })).toEqual([]);
  });
});
