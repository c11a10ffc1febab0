import fc from 'fast-check';
import { promisable, type Capacity } from '#density';
import { Admission } from './admission';

const capacity: Capacity = {
  slots: 5,
  cpus: 2,
  memoryMiB: 1_000,
  reserveMiB: 200,
  overcommit: { cpu: 4, memory: 1.5 },
};

describe('admission', () => {
  it('refuses with numbers', () => {
    const admission = new Admission(capacity);
    expect(admission.request('a', { vcpus: 8, memoryMiB: 1_100 })).toEqual({ admitted: true });
    expect(admission.request('b', { vcpus: 1, memoryMiB: 1 })).toEqual({
      admitted: false,
      reason: 'not enough vCPUs: 8 + 1 vCPUs would exceed 8 (2 CPUs x overcommit 4)',
    });
    admission.release('a');
    admission.request('a', { vcpus: 1, memoryMiB: 1_100 });
    expect(admission.request('b', { vcpus: 1, memoryMiB: 101 })).toEqual({
      admitted: false,
      reason: 'not enough memory: 1100 + 101 MiB would exceed 1200 MiB ((1000 - 200) MiB x overcommit 1.5)',
    });
    for (const key of ['b', 'c', 'd', 'e']) admission.request(key, { vcpus: 1, memoryMiB: 1 });
    expect(admission.request('f', { vcpus: 1, memoryMiB: 1 })).toEqual({
      admitted: false,
      reason: 'no slot free: 5 of 5 slots are in use',
    });
  });

  it('grants a key once', () => {
    const admission = new Admission(capacity);
    admission.request('a', { vcpus: 3, memoryMiB: 10 });
    expect(admission.request('a', { vcpus: 3, memoryMiB: 10 })).toEqual({ admitted: true });
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
          expect(admission.request(key, demand).admitted).toBe(held.has(key) || fits);
          if (fits) held.add(key);
          const after = admission.commitment();
          expect(after.vcpus).toBeLessThanOrEqual(most.vcpus);
          expect(after.memoryMiB).toBeLessThanOrEqual(most.memoryMiB);
          expect(admission.count).toBeLessThanOrEqual(capacity.slots);
        }
      }),
    );
  });
});
