import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import { createMicrovmDriver, type MicrovmDriver, type MicrovmProcess } from '#microvm';
import { artefacts, describeWithKvm, makeTmpfsDirectory } from '../../../../test/support/kvm';
import type { HeldTemplate } from './template-store';
import { WorkingSets } from './working-sets';

describeWithKvm('working sets of templates on KVM', () => {
  let scratch: ReturnType<typeof makeTmpfsDirectory>;
  let driver: MicrovmDriver;
  const held: MicrovmProcess[] = [];
  const shape = { bootProtocol: 'flat', irqchip: 'split', vcpus: 1, memoryMiB: 16, cmdline: '' } as const;
  const launch = async (from: { kernelPath: string } | { restore: { directory: string } }) => {
    const directory = join(scratch.path, `vm-${held.length}`);
    mkdirSync(directory);
    const vm = await driver.launch({ id: `vm-${held.length}`, directory, ...shape, ...from });
    held.push(vm);
    await vm.booted;
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

  it('are written down by the first clone, and read when one starts after a while', async () => {
    const folder = join(scratch.path, 'template');
    await (await launch({ kernelPath: artefacts.canary })).snapshot(folder);
    const template = { folder, manifest: { templateId: 't' } } as unknown as HeldTemplate;
    const file = join(folder, 'working-set');
    let nowMs = 0;
    const sets = new WorkingSets(pino({ level: 'silent' }), () => nowMs);
    expect(await sets.readAhead(template)).toBe(0);

    const clone = await launch({ restore: { directory: folder } });
    // One that has ended tells nothing; the next one does.
    const ended = await launch({ restore: { directory: folder } });
    ended.kill();
    await ended.exited;
    await sets.record(template, ended);
    let written = 0;
    sets.onWritten(() => written++);
    await sets.record(template, clone);
    expect(written).toBe(1);
    const recorded = readFileSync(file, 'utf8');
    await sets.record(template, clone);
    expect(readFileSync(file, 'utf8')).toBe(recorded);

    nowMs += 1_000;
    expect(await sets.readAhead(template)).toBe(0);
    nowMs += 30_000;
    expect(await sets.readAhead(template)).toBeGreaterThan(4_096);
    // No clone fails for what was spoilt, and the next agent writes it down anew.
    writeFileSync(file, recorded.replace('4096', '8192'));
    nowMs += 30_000;
    expect(await sets.readAhead(template)).toBe(0);
    await new WorkingSets(pino({ level: 'silent' })).record(template, clone);
    expect(readFileSync(file, 'utf8')).toBe(recorded);
  });
});
