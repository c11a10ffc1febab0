import { mkdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { artefacts, notBuilt } from '../../../test/support/kvm';
import { useDriver } from '../../../test/support/kvm-driver';
import { describeUnless } from '../../../test/support/skip-aloud';

describeUnless(notBuilt(['standIn', 'canary', 'binding']), 'the microVM driver with stand-ins for VMMs', () => {
  const use = useDriver({}, { vmmPath: artefacts.standIn, standIn: true });

  it('needs no KVM, and says that no guest runs', () => {
    expect(use.driver.probe()).toMatchObject({
      available: true,
      kind: 'stand-in',
      reason: expect.stringMatching(/no guest/) as string,
    });
  });

  it('starts, pauses, resumes and stops them like VMMs', async () => {
    const vm = await use.launch();
    await vm.booted;
    expect(vm.serial().text).toBe('stand-in: no guest runs here\n');
    expect(readFileSync(`/proc/${vm.identity.pid}/cmdline`, 'latin1')).toMatch(`volley-vmm\0${vm.id}`);
    await vm.pause();
    expect(vm.stats().state).toBe('paused');
    await vm.resume();
    expect(vm.stats().state).toBe('running');
    await vm.pressPowerButton();
    expect(await vm.exited).toMatchObject({ reason: 'powerOff' });
  });

  it('has them end as a canary would that was told to', async () => {
    const vm = await use.launch({ cmdline: 'exit=panic after=10' });
    await vm.booted;
    expect(await vm.exited).toMatchObject({ reason: 'panic' });
  });

  it('launches into a shell behind the barriers of the jail, and finds and adopts what it launched', async () => {
    const shell = await use.driver.prepare({
      barriers: ['capabilities', 'rlimits', 'seccomp'],
      ...{ uid: process.getuid!(), gid: process.getgid!(), openFiles: 64, fileBytes: 2 ** 30 },
    });
    expect(shell.barriers).toEqual(['capabilities', 'rlimits', 'seccomp']);
    const vm = await use.launch({}, shell);
    await vm.booted;
    expect(await use.driver.find(vm.id, vm.identity.directory)).toEqual(vm.identity);
    const adopted = await use.driver.adopt(vm.id, vm.identity);
    await adopted.booted;
    await adopted.pause();
    adopted.release();
  });

  it('refuses at once what needs a guest', async () => {
    const vm = await use.launch({ devices: [{ type: 'vsock', guestCid: 3 }, { type: 'balloon' }] });
    await vm.booted;
    await expect(vm.snapshot(join(use.path, 'snapshot'))).rejects.toThrow(/no guest runs in it/);
    await expect(vm.setBalloon(1 << 20)).rejects.toThrow(/refused: ENOTSUP/);
    await expect(vm.type(Buffer.from('x'))).rejects.toThrow(/refused: ENOTSUP/);
    const [error] = (await once(connect(join(vm.identity.directory, 'vsock.sock')), 'error')) as [Error];
    expect(error.message).toMatch(/ECONNREFUSED/);
    const directory = join(use.path, 'nothing');
    mkdirSync(directory);
    await expect(use.launch({ restore: { directory } })).rejects.toMatchObject({ code: 'ENOTSUP' });
  });
});

describeUnless(notBuilt(['vmm', 'canary', 'binding']), 'the VMM in place of a stand-in', () => {
  const use = useDriver({}, { vmmPath: artefacts.vmm, standIn: true });

  it('ends with a sentence: it was given no KVM', async () => {
    const vm = await use.launch();
    await expect(vm.booted).rejects.toThrow();
    expect(await vm.exited).toMatchObject({ reason: 'vmmError', message: expect.stringMatching(/KVM/i) as string });
  });
});
