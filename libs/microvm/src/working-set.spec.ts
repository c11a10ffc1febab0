import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeWithKvm } from '../../../test/support/kvm';
import { useDriver } from '../../../test/support/kvm-driver';
import { hasWorkingSet, prefetchWorkingSet, recordWorkingSet } from './index';

describeWithKvm('working sets of clones', () => {
  const kvm = useDriver({ memoryMiB: 64 });

  it('are what a clone has touched, can be read ahead, and are refused when they do not fit', async () => {
    const vm = await kvm.launch({ cmdline: 'touch=32' });
    await vm.booted;
    for (const end = Date.now() + 30_000; !vm.serial().text.includes('touched');) {
      if (Date.now() > end) throw new Error(`not touched: ${vm.serial().text}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const directory = join(kvm.path, 'template');
    await vm.snapshot(directory);
    expect([await prefetchWorkingSet(directory), await hasWorkingSet(directory)]).toEqual([0, false]);
    const clone = await kvm.launch({ restore: { directory } });
    await clone.booted;
    const bytes = await recordWorkingSet(directory, clone);
    expect(await hasWorkingSet(directory)).toBe(true);
    expect(bytes).toBeGreaterThan(4096);
    // It has not read all that its template has touched.
    expect(bytes).toBeLessThan(16 * 1024 * 1024);
    const runs = JSON.parse(readFileSync(join(directory, 'working-set'), 'utf8')) as [number, number][];
    // The code of the canary is at 1 MiB, and it ran.
    expect(runs.some(([offset, length]) => offset <= 0x100000 && offset + length > 0x100000)).toBe(true);
    expect(await prefetchWorkingSet(directory)).toBe(bytes);
    for (const wrong of ['{}', '[[0]]', '[[-4096,4096]]', '[[0,1000000000]]', '[["0",4096]]', 'x']) {
      writeFileSync(join(directory, 'working-set'), wrong);
      await expect(prefetchWorkingSet(directory)).rejects.toThrow();
    }
  });
});
