import fc from 'fast-check';

import { SHARED, type Coresidency } from '#protocol';
import { promisable, type Capacity } from './capacity';
import { mayShare } from './occupants';
import { Admission, type Grant } from './admission';

const capacity: Capacity = {
  slots: 5,
  cpus: 2,
  memoryMiB: 1_000,
  reserveMiB: 200,
  overcommit: { cpu: 4, memory: 1.5 },
};

const grant = (vcpus: number, memoryMiB: number, tenant = 'a', coresidency: Coresidency = SHARED): Grant => ({
  class: 'guaranteed',
  ...{ vcpus, memoryMiB, tenant, coresidency },
});

describe('admission', () => {
  it('refuses with numbers', () => {
    const admission = new Admission(capacity);
    expect(admission.request('a', grant(8, 1_100))).toEqual({ admitted: true });
    expect(admission.request('b', grant(1, 1))).toEqual({
      admitted: false,
      reason: 'not enough vCPUs: 8 + 1 vCPUs would exceed 8 (2 CPUs x overcommit 4)',
    });
    admission.release('a');
    admission.request('a', grant(1, 1_100));
    expect(admission.request('b', grant(1, 101))).toEqual({
      admitted: false,
      reason: 'not enough memory: 1100 + 101 MiB would exceed 1200 MiB ((1000 - 200) MiB x overcommit 1.5)',
    });
    for (const key of ['b', 'c', 'd', 'e']) admission.request(key, grant(1, 1));
    expect(admission.request('f', grant(1, 1))).toEqual({
      admitted: false,
      reason: 'no slot free: 5 of 5 slots are in use',
    });
  });

  it('guarantees no more than may be guaranteed, and leaves the rest to best effort', () => {
    const admission = new Admission({
      ...capacity,
      overcommit: { cpu: 4, memory: 1.5, guaranteed: { cpu: 2, memory: 0.5 } },
    });
    const bestEffort = { ...grant(4, 900), class: 'bestEffort' as const };
    expect(admission.request('a', grant(1, 300))).toEqual({ admitted: true });
    expect(admission.request('b', bestEffort)).toEqual({ admitted: true });
    expect(admission.guaranteed()).toEqual({ vcpus: 1, memoryMiB: 300 });
    expect(admission.request('c', grant(1, 101))).toEqual({
      admitted: false,
      reason: 'not enough memory: 1200 + 101 MiB would exceed 1200 MiB ((1000 - 200) MiB x overcommit 1.5)',
    });
    admission.release('b');
    expect(admission.request('c', grant(1, 101))).toEqual({
      admitted: false,
      reason: 'not enough guaranteed memory: 300 + 101 MiB would exceed 400 MiB, the most that may be guaranteed here',
    });
    expect(admission.request('c', grant(4, 1))).toMatchObject({
      reason: expect.stringContaining('guaranteed vCPUs: 1 + 4') as string,
    });
    admission.release('a');
    expect(admission.guaranteed()).toEqual({ vcpus: 0, memoryMiB: 0 });
  });

  it('lets nobody of a class in whose gate is shut, and says why', () => {
    const admission = new Admission(capacity);
    admission.guard({
      guaranteed: { open: true },
      bestEffort: { open: false, reason: 'available memory 9 % is below 12 %' },
    });
    expect(admission.request('a', grant(1, 1))).toEqual({ admitted: true });
    expect(admission.request('b', { ...grant(1, 1), class: 'bestEffort' })).toEqual({
      admitted: false,
      reason: 'guard: no bestEffort microVMs are let in: available memory 9 % is below 12 %',
    });
  });

  it('keeps what it granted when less may be promised from then on', () => {
    const admission = new Admission(capacity);
    admission.request('a', grant(8, 10));
    admission.promise({ cpu: 1, memory: 1 });
    expect(admission.commitment().vcpus).toBe(8);
    expect(admission.request('b', grant(1, 1)).admitted).toBe(false);
  });

  it('grants a key once', () => {
    const admission = new Admission(capacity);
    admission.request('a', grant(3, 10));
    expect(admission.request('a', grant(3, 10))).toEqual({ admitted: true });
    expect(admission.commitment()).toEqual({ vcpus: 3, memoryMiB: 10 });
  });

  it('never promises more than it may, and refuses only what does not fit', () => {
    const step = fc.record({
      key: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g'),
      release: fc.boolean(),
      demand: fc.record({ vcpus: fc.integer({ min: 1, max: 6 }), memoryMiB: fc.integer({ min: 1, max: 900 }) }),
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const admission = new Admission(capacity);
        const most = promisable(capacity);
        const held = new Set<string>();
        for (const { key, release, demand } of steps) {
          if (release) {
            admission.release(key);
            held.delete(key);
            continue;
          }
          const before = admission.commitment();
          const fits =
            admission.count < capacity.slots &&
            before.vcpus + demand.vcpus <= most.vcpus &&
            before.memoryMiB + demand.memoryMiB <= most.memoryMiB;
          expect(
            admission.request(key, { ...demand, class: 'guaranteed', tenant: 'a', coresidency: SHARED }).admitted,
          ).toBe(held.has(key) || fits);
          if (fits) held.add(key);
          const after = admission.commitment();
          expect(after.vcpus).toBeLessThanOrEqual(most.vcpus);
          expect(after.memoryMiB).toBeLessThanOrEqual(most.memoryMiB);
          expect(admission.count).toBeLessThanOrEqual(capacity.slots);
        }
      }),
    );
  });

  it('refuses who may not share the host, naming nobody', () => {
    const admission = new Admission(capacity);
    const apart: Coresidency = { mode: 'shared', neverWith: ['rival'] };
    expect(admission.request('1', grant(1, 1, 'acme', apart)).admitted).toBe(true);
    expect(admission.request('2', grant(1, 1, 'third')).admitted).toBe(true);
    const refused = admission.request('3', grant(1, 1, 'rival'));
    expect(refused).toEqual({
      admitted: false,
      reason: 'co-residency: this host has microVMs of tenants that may not share it with this one',
    });
    const dedicated: Coresidency = { mode: 'dedicated', neverWith: [] };
    expect(admission.request('4', grant(1, 1, 'fourth', dedicated)).admitted).toBe(false);
    admission.release('1');
    expect(admission.request('3', grant(1, 1, 'rival')).admitted).toBe(true);
  });

  it('never mixes tenants of whom one objects, whoever comes and goes in whatever order', () => {
    const tenant = fc.constantFrom('a', 'b', 'c', 'd');
    const coresidency: fc.Arbitrary<Coresidency> = fc.record({
      mode: fc.constantFrom('shared' as const, 'shared' as const, 'dedicated' as const),
      neverWith: fc.array(tenant, { maxLength: 2 }),
    });
    const step = fc.record({ key: fc.integer({ min: 0, max: 7 }), leaves: fc.boolean(), tenant, coresidency });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const admission = new Admission({ ...capacity, slots: 8, memoryMiB: 10_000 });
        const here = new Map<number, Grant>();
        for (const { key, leaves, tenant, coresidency } of steps) {
          if (leaves) {
            admission.release(String(key));
            here.delete(key);
          } else if (!here.has(key)) {
            const asked = grant(1, 1, tenant, coresidency);
            const fits = [...here.values()].every((other) => mayShare(other, asked));
            expect(admission.request(String(key), asked).admitted).toBe(fits);
            if (fits) here.set(key, asked);
          }
          for (const one of here.values()) for (const other of here.values()) expect(mayShare(one, other)).toBe(true);
        }
        const counted = admission.occupants().reduce((sum, { count }) => sum + count, 0);
        expect(counted).toBe(here.size);
      }),
      { numRuns: 300 },
    );
  });
});
