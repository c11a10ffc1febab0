import { MemoryBreakdown } from '#protocol';
import { memoryParts } from './host-memory';

const parts = Object.keys(MemoryBreakdown.shape).filter((name) => name !== 'totalKiB');
/** Powers of two: no two sums of them are alike. */
const memory = MemoryBreakdown.parse({
  ...Object.fromEntries(parts.map((name, i) => [name, 2 ** i])),
  totalKiB: 2 ** parts.length - 1,
});

it('shows every part once, and all of them sum to the whole', () => {
  const shown = memoryParts(memory);
  expect(shown.reduce((sum, { kib }) => sum + kib, 0)).toBe(memory.totalKiB);
  expect(shown.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 9);
});

it('gives no room to what was measured to be less than nothing, and says the figure', () => {
  const unexplained = memoryParts({ ...memory, unexplainedKiB: -7 }).find(({ key }) => key === 'unexplained')!;
  expect([unexplained.kib, unexplained.share]).toEqual([-7, 0]);
});
