import fc from 'fast-check';
import { commitmentOf, headroomOf, overcommitRatio, promisable, type Capacity } from './capacity';

const host: Capacity = {
  slots: 100,
  cpus: 2,
  memoryMiB: 24_000,
  reserveMiB: 4_000,
  overcommit: { cpu: 10, memory: 1.5 },
};

describe('commitment and overcommit', () => {
  it('promises capacity less reserve times the limit', () => {
    expect(promisable(host)).toEqual({ vcpus: 20, memoryMiB: 30_000 });
  });

  it('takes the ratio over what is not reserved', () => {
    expect(overcommitRatio(30_000, 24_000, 4_000)).toBe(1.5);
    expect(overcommitRatio(0, 0)).toBe(0);
    expect(overcommitRatio(1, 4, 4)).toBe(Infinity);
  });

  it('counts how many more of the mean size fit', () => {
    const commitment = commitmentOf([
      { vcpus: 1, memoryMiB: 5_000 },
      { vcpus: 3, memoryMiB: 15_000 },
    ]);
    expect(headroomOf(host, commitment, 2)).toEqual({ vcpus: 16, memoryMiB: 10_000, slots: 98, microvms: 1 });
  });

  it('assumes the usual size on an empty host', () => {
    expect(headroomOf(host, { vcpus: 0, memoryMiB: 0 }, 0).microvms).toBe(20);
  });

  it('never promises more than the limit by following its own headroom', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ vcpus: fc.integer({ min: 1, max: 32 }), memoryMiB: fc.integer({ min: 2, max: 9_000 }) })),
        (demands) => {
          const commitment = commitmentOf(demands);
          const room = headroomOf(host, commitment, demands.length);
          const most = promisable(host);
          expect(room.microvms).toBeGreaterThanOrEqual(0);
          if (room.microvms === 0) return;
          const grown = 1 + room.microvms / demands.length;
          if (demands.length === 0) return;
          expect(commitment.vcpus * grown).toBeLessThanOrEqual(most.vcpus + 1e-6);
          expect(commitment.memoryMiB * grown).toBeLessThanOrEqual(most.memoryMiB + 1e-6);
        },
      ),
    );
  });
});
