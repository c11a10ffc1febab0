import { readFileSync } from 'node:fs';
import { countedKernelKiB, kernelKiB, parseMeminfo } from './meminfo';

it('reads meminfo; a counter that is not there is 0', () => {
  expect(parseMeminfo('MemTotal:       24683520 kB\nMemFree:  1 kB\nMemAvailable:   20000000 kB\n')).toMatchObject({
    ...{ totalKiB: 24_683_520, availableKiB: 20_000_000, freeKiB: 1, secondaryPageTablesKiB: 0 },
  });
  expect(() => parseMeminfo('')).toThrow(RangeError);
});

it('counts kernel stacks once, which are pages of vmalloc', () => {
  const memory = parseMeminfo(
    'MemTotal: 1000 kB\nMemAvailable: 500 kB\nMemFree: 400 kB\nCached: 200 kB\nAnonPages: 100 kB\n' +
      'Slab: 90 kB\nKernelStack: 20 kB\nVmallocUsed: 50 kB\nPageTables: 10 kB\nPercpu: 5 kB\n',
  );
  expect(kernelKiB(memory)).toBe(300);
  expect(countedKernelKiB(memory)).toBe(155);
});

it('finds more kernel memory on this machine than counters tell of', () => {
  const memory = parseMeminfo(readFileSync('/proc/meminfo', 'latin1'));
  expect(kernelKiB(memory)).toBeGreaterThan(0.9 * countedKernelKiB(memory));
});
