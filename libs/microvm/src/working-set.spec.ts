import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { artefacts, describeWithKvm, makeTmpfsDirectory } from '../../../test/support/kvm';
import {
  createMicrovmDriver,
  hasWorkingSet,
  type LaunchSpec,
  type MicrovmDriver,
  type MicrovmProcess,
  prefetchWorkingSet,
  recordWorkingSet,
} from './index';

describeWithKvm('working sets of clones', () => {
  let scratch: ReturnType<typeof makeTmpfsDirectory>;
  let driver: MicrovmDriver;
  const held: MicrovmProcess[] = [];

  const launch = async (changes: Partial<LaunchSpec>) => {
    const id = `vm-${held.length}`;
    const directory = join(scratch.path, id);
    mkdirSync(directory);
    const shape = { bootProtocol: 'flat', irqchip: 'split', vcpus: 1, memoryMiB: 64, cmdline: '' } as const;
    const vm = await driver.launch({ id, directory, ...shape, ...changes });
    held.push(vm);
    return vm;
  };

  beforeAll(() => {
    scratch = makeTmpfsDirectory();
    driver = createMicrovmDriver({ vmmPath: artefacts.vmm, bindingPath: artefacts.binding });
  });
  afterAll(async () => {
    for (const vm of held) {
      vm.kill();
      await vm.exited;
      vm.release();
    }
    driver.close();
    scratch.remove();
  });

  it('are what a clone has touched, can be read ahead, and are refused when they do not fit', async () => {
    const vm = await launch({ kernelPath: artefacts.canary, cmdline: 'touch=32' });
    await vm.booted;
    for (const end = Date.now() + 30_000; !vm.serial().text.includes('touched');) {
      if (Date.now() > end) throw new Error(`not touched: ${vm.serial().text}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const directory = join(scratch.path, 'template');
    await vm.snapshot(directory);
    expect([await prefetchWorkingSet(directory), await hasWorkingSet(directory)]).toEqual([0, false]);
    const clone = await launch({ restore: { directory } });
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
