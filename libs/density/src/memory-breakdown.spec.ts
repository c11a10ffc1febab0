import { parseMeminfo } from './meminfo';
import { breakDownMemory } from './memory-breakdown';
import { noReadings, type ReadingSums } from './microvm-reading';

const memory = parseMeminfo(
  'MemTotal: 100000 kB\nMemFree: 40000 kB\nMemAvailable: 50000 kB\nBuffers: 1000 kB\nCached: 12000 kB\nAnonPages: 22000 kB\n' +
    'Shmem: 3000 kB\nSlab: 9000 kB\nKernelStack: 1600 kB\nPageTables: 1500 kB\nPercpu: 500 kB\nVmallocUsed: 3000 kB\n',
);
/** Ten microVMs, two of which share pages of a template. */
const sums: ReadingSums = {
  ...noReadings(),
  ...{ measured: 10, guestKiB: 15_000, sharedProportionalKiB: 700, sharedShmemKiB: 500, vmmKiB: 800, pageFileKiB: 100 },
  ...{ pageTablesKiB: 300, threads: 30 },
};

const partsOf = ({ totalKiB: _, ...parts }: ReturnType<typeof breakDownMemory>): number =>
  Object.values(parts).reduce((sum, part) => sum + part, 0);

describe('the parts of a host', () => {
  it('are disjoint and sum to MemTotal', () => {
    const parts = breakDownMemory({ memory, microvms: 10, sums, charged: { anonymousKiB: 0, kernelKiB: 7_000 } });
    expect(partsOf(parts)).toBeCloseTo(100_000, 6);
    expect(parts).toMatchObject({
      ...{ freeKiB: 40_000, pageCacheKiB: 12_000 - 3_000 + 1_000 - 200, guestPrivateKiB: 15_000, guestSharedKiB: 700 },
      ...{ vmmKiB: 900, microvmPageTablesKiB: 300, microvmStacksKiB: 480, otherProcessesKiB: 22_000 - 15_800 },
      otherShmemKiB: 3_000 - 100 - 500,
    });
    // Nothing tells which of the charged pages are in no counter: all of those stay unexplained.
    expect(parts.microvmKernelKiB).toBe(7_000 - 780);
    expect(parts.unexplainedKiB).toBe(100_000 - 40_000 - 22_000 - 13_000 - (9_000 + 1_500 + 500 + 3_000));
  });

  it('give KVM the pages that no counter contains, where the cgroup tells of them', () => {
    const charged = { anonymousKiB: 0, kernelKiB: 7_000, countedKernelKiB: 4_000 };
    const parts = breakDownMemory({ memory, microvms: 10, sums, charged });
    expect(parts.microvmKernelKiB).toBe(7_000 - 780);
    expect(parts.otherKernelKiB).toBe(14_000 - 4_000);
    expect(parts.unexplainedKiB).toBe(25_000 - 14_000 - 3_000);
    expect(partsOf(parts)).toBeCloseTo(100_000, 6);
  });

  it('give KVM what was learned of such pages, where it does not', () => {
    const charged = { anonymousKiB: 0, kernelKiB: 7_000 };
    const parts = breakDownMemory({ memory, microvms: 10, sums, charged, uncountedEachKiB: 200 });
    expect(parts.otherKernelKiB).toBe(14_000 - 5_000);
    expect(parts.unexplainedKiB).toBe(25_000 - 14_000 - 2_000);
    const without = breakDownMemory({ memory, microvms: 10, sums, uncountedEachKiB: 200 });
    expect(without.microvmKernelKiB).toBe(2_000);
    expect(without.unexplainedKiB).toBe(25_000 - 14_000 - 2_000);
  });

  it('take microVMs that are not measured yet to be like the others', () => {
    const parts = breakDownMemory({ memory, microvms: 12, sums });
    expect(parts.guestPrivateKiB).toBeCloseTo(18_000, 6);
    expect(parts.vmmKiB).toBeCloseTo(1_080, 6);
    expect(partsOf(parts)).toBeCloseTo(100_000, 6);
    expect(breakDownMemory({ memory, microvms: 3, sums: noReadings() }).guestPrivateKiB).toBe(0);
  });
});
