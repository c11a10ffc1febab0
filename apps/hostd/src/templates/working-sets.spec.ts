import { readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import { readWorkingSet, type LaunchSpec, type MicrovmProcess } from '#microvm';
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
    writeFileSync(file, recorded.replace('[[', '[[0,4096],['));
    nowMs += 30_000;
    expect(await sets.readAhead(template)).toBe(0);
    await new WorkingSets(pino({ level: 'silent' })).record(template, clone);
    expect(readFileSync(file, 'utf8')).toBe(recorded);
  });

  it('of a suspended microVM are that of its last resume, or else of its template, and read when it goes on after a while', async () => {
    const sets = new WorkingSets(pino({ level: 'silent' }));
    const suspend = async (vm: MicrovmProcess, name: string, template?: HeldTemplate): Promise<string> => {
      const folder = join(kvm.path, name);
      await vm.snapshot(folder, { live: true, resume: false });
      await sets.leave(folder, vm, template);
      return folder;
    };
    const first = await suspend(await launch(), 'first');
    expect([await readWorkingSet(first), await sets.readAheadOfResume(first)]).toEqual([undefined, 0]);

    const resumed = await launch({ restore: { directory: first } });
    await sets.recordResumed(resumed);
    // As the agent does once it runs: what is to be known must not depend on it.
    rmSync(first, { recursive: true });
    const second = await suspend(resumed, 'second');
    const { runs } = (await readWorkingSet(second))!;
    expect(runs.some(([offset, length]) => offset <= 0x100000 && offset + length > 0x100000)).toBe(true);
    // Written just now, it is in the page cache.
    expect(await sets.readAheadOfResume(second)).toBe(0);
    utimesSync(join(second, 'memory'), 0, 0);
    expect(await sets.readAheadOfResume(second)).toBeGreaterThan(4_096);

    const template = { folder: second, manifest: { templateId: 't' } } as unknown as HeldTemplate;
    const clone = await launch({ restore: { directory: second } });
    const third = await suspend(clone, 'third', template);
    expect(await readWorkingSet(third)).toEqual(await readWorkingSet(second));
    // Nothing of this fails anybody.
    rmSync(third, { recursive: true });
    await sets.leave(third, clone, template);
    expect(await sets.readAheadOfResume(third)).toBe(0);
  });
});
