import type { MemoryBreakdown } from '#protocol';
import { memoryParts } from './host-memory';

/** Powers of two: no two sums of them are alike. */
const memory: MemoryBreakdown = {
  ...{ freeKiB: 1, pageCacheKiB: 2, guestPrivateKiB: 4, guestSharedKiB: 8, vmmKiB: 16, microvmPageTablesKiB: 32 },
  ...{ microvmStacksKiB: 64, microvmKernelKiB: 128, otherKernelKiB: 256, otherProcessesKiB: 512, otherShmemKiB: 1_024 },
  ...{ hugePagesKiB: 2_048, unexplainedKiB: 4_096 },
  totalKiB: 8_191,
};

it('shows every part once, and all of them sum to the whole', () => {
  const shown = memoryParts(memory);
  expect(shown.reduce((sum, { kib }) => sum + kib, 0)).toBe(memory.totalKiB);
  expect(shown.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 9);
});

it('gives no room to what was measured to be less than nothing, and says the figure', () => {
  const unexplained = memoryParts({ ...memory, unexplainedKiB: -7 }).find(({ key }) => key === 'unexplained')!;
  expect([unexplained.kib, unexplained.share]).toEqual([-7, 0]);
});
