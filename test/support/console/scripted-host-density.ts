import type { DensityHistory, DensityReport } from '#protocol';

/** A full host with best effort shut out: what a report says of one besides its sums. Its parts sum to its memory. */
export function hostFigures(memoryMiB: number, at: number): Partial<DensityReport> {
  const parts = {
    ...{ pageCacheKiB: 4_194_304, guestPrivateKiB: 60_817_408, guestSharedKiB: 1_048_576, vmmKiB: 524_288 },
    ...{ microvmPageTablesKiB: 262_144, microvmStacksKiB: 65_536, microvmKernelKiB: 786_432, otherKernelKiB: 524_288 },
    ...{ otherProcessesKiB: 1_048_576, otherShmemKiB: 0, hugePagesKiB: 0, unexplainedKiB: 131_072 },
  };
  const totalKiB = memoryMiB * 1_024;
  const freeKiB = totalKiB - Object.values(parts).reduce((sum, kib) => sum + kib, 0);
  const reason = 'available memory 7.5 % (9830 of 131072 MiB) is below 12 %';
  return {
    memory: { totalKiB, freeKiB, ...parts },
    marginalCost: { kib: 1_126, errorKiB: 31, method: 'slope' },
    fits: {
      slots: 900,
      vcpus: 800,
      promisedMemory: 700,
      availableMemory: 137,
      microvms: 137,
      binding: 'availableMemory',
    },
    exhaustion: { seconds: 7_500, soonestSeconds: 6_000, latestSeconds: 9_900 },
    guards: {
      gates: {
        guaranteed: { open: true, since: at - 9_000_000 },
        bestEffort: { open: false, since: at - 60_000, reason },
      },
      reclaimed: { ballooned: 12, suspended: 3, evicted: 1 },
      reading: {
        ...{ cpuPressure: 12, memoryPressure: 0.2, vcpuWait: 1.5 },
        ...{ availableMemory: 7.5, availableMiB: 9_830, usableMiB: 131_072 },
      },
    },
  };
}

/** An hour in minutes, of which ten are missing. */
export function hostPast(from: number): DensityHistory {
  const spread = (mean: number) => ({ min: mean, mean, max: mean, p99: mean });
  const minutes = Array.from({ length: 60 }, (_, minute) => minute).filter((minute) => minute < 20 || minute >= 30);
  return {
    ...{ from, to: from + 3_600_000, stepMs: 60_000 },
    points: minutes.map((minute) => ({
      ...{ at: from + minute * 60_000, readings: 60 },
      figures: {
        hostUsedMiB: spread(60_000 + minute * 100),
        committedMemoryMiB: spread(120_000),
        proportionalMiB: spread(58_000),
        vcpuWaitP99Percent: spread(minute / 20),
      },
    })),
  };
}
