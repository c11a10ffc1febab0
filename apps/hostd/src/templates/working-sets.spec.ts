import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import type { LaunchSpec } from '#microvm';
import { describeWithKvm } from '../../../../test/support/kvm';
import { useDriver } from '../../../../test/support/kvm-driver';
import type { HeldTemplate } from './template-store';
import { WorkingSets } from './working-sets';

describeWithKvm('working sets of templates on KVM', () => {
  const kvm = useDriver();
  const launch = async (changes: Partial<LaunchSpec> = {}) => {
    const vm = await kvm.launch(changes);
    await vm.booted;
    return vm;
  };

  it('are written down by the first clone, and read when one starts after a while', async () => {
    const folder = join(kvm.path, 'template');
    await (await launch()).snapshot(folder);
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
    await sets.record(template, clone);
    const recorded = readFileSync(file, 'utf8');
    await sets.record(template, clone);
    expect(readFileSync(file, 'utf8')).toBe(recorded);

    nowMs += 1_000;
    expect(await sets.readAhead(template)).toBe(0);
    nowMs += 30_000;
    expect(await sets.readAhead(template)).toBeGreaterThan(4_096);
    // What was spoilt is left alone, and no clone fails for it.
    writeFileSync(file, '[[0,1000000000]]');
    nowMs += 30_000;
    expect(await sets.readAhead(template)).toBe(0);
    rmSync(file);
  });
});
