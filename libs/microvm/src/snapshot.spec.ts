import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { artefacts, describeWithKvm } from '../../../test/support/kvm';
import { useDriver } from '../../../test/support/kvm-driver';
import {
  describeSnapshot,
  type LaunchSpec,
  type MicrovmProcess,
  restoreObstacle,
  SnapshotError,
  VmmControlError,
  VmmExitedError,
} from './index';

describeWithKvm('snapshots of canaries on KVM', () => {
  const kvm = useDriver({ memoryMiB: 64 });
  let count = 0;

  const prepare = () =>
    kvm.driver.prepare({
      barriers: ['capabilities', 'rlimits', 'seccomp'],
      uid: process.getuid!(),
      gid: process.getgid!(),
      openFiles: 256,
      fileBytes: 2 ** 40,
    });
  const prime = async (directory: string) => {
    const shell = await prepare();
    await kvm.driver.prime(shell, directory);
    return shell;
  };
  const says = async (vm: MicrovmProcess, words: RegExp): Promise<string> => {
    for (const end = Date.now() + 60_000; Date.now() < end;) {
      const found = words.exec(vm.serial().text);
      if (found) return found[1] ?? found[0];
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    throw new Error(`no ${words.source} in: ${vm.serial().text}`);
  };
  /** A template of a canary that has touched some memory. */
  const template = async (touch = 32) => {
    const directory = join(kvm.path, `template-${++count}`);
    const vm = await kvm.launch({ cmdline: `touch=${touch}` });
    await says(vm, /touched/);
    const report = await vm.snapshot(directory);
    return { directory, vm, report };
  };

  it('writes a snapshot that says what it is, and the guest goes on', async () => {
    const { directory, vm, report } = await template();
    expect(report).toMatchObject({ kind: 'full' });
    expect(report.pages).toBeGreaterThanOrEqual(32 * 256);
    expect(report.pauseNs).toBeGreaterThan(0);
    expect(report.totalNs).toBeGreaterThanOrEqual(report.pauseNs);
    expect(readdirSync(directory).sort()).toEqual(['memory', 'state']);
    expect(vm.stats().state).toBe('running');
    const description = await describeSnapshot(directory, { verifyMemory: true });
    expect(description).toMatchObject({ version: 1, bootProtocol: 'flat', irqchip: 'split', vcpus: 1, memoryMiB: 64 });
    expect(description).toMatchObject({ devices: [], kvmKind: kvm.driver.probe().kind, cpu: kvm.driver.probe().cpu! });
    expect(Math.abs(description.createdAt.getTime() - Date.now())).toBeLessThan(60_000);
    // Holes are holes: memory that was never touched takes no room.
    expect(statSync(join(directory, 'memory')).blocks * 512).toBeLessThan(40 * 1024 * 1024);
    expect(
      restoreObstacle(description, { kvmKind: kvm.driver.probe().kind, cpu: kvm.driver.probe().cpu! }),
    ).toBeUndefined();
  });

  it('starts clones that differ in their generation, in shells and primed ones as well, beside the original', async () => {
    const { directory, vm } = await template();
    const clones = await Promise.all(
      [undefined, prepare(), prime(directory), prime(directory)].map(async (shell) =>
        kvm.launch({ restore: { directory } }, await shell),
      ),
    );
    await Promise.all(clones.map((clone) => clone.booted));
    const generations = await Promise.all(clones.map((clone) => says(clone, /generation ([0-9a-f]{32})/)));
    expect(new Set(generations).size).toBe(4);
    for (const clone of [...clones, vm]) {
      await clone.pressPowerButton();
      expect(await clone.exited).toMatchObject({ reason: 'powerOff' });
    }
  });

  it('primes shells that are nobody before they are claimed, and serve clones of their snapshot only', async () => {
    const { directory } = await template();
    const other = await template(1);
    const shells = [await prime(directory), await prime(directory)];
    for (const { pid, primed } of shells) {
      expect(primed).toBe(directory);
      // Memory is mapped from the file, and none of it is its own; no thread can run a guest.
      expect(readFileSync(`/proc/${pid}/maps`, 'utf8')).toContain(join(directory, 'memory'));
      expect(readdirSync(`/proc/${pid}/task`)).toEqual([String(pid)]);
    }
    await expect(kvm.driver.prime(shells[0]!, directory)).rejects.toThrow(/primed/);
    await expect(kvm.launch({ restore: other }, shells[0])).rejects.toThrow(`primed with the snapshot in ${directory}`);
    await shells[0]!.ended;
    await expect(kvm.launch({}, await prime(directory))).rejects.toThrow(/primed with the snapshot/);
    await kvm
      .launch({ restore: { directory }, memoryMiB: 32 }, await prime(directory))
      .then(({ booted }) => expect(booted).rejects.toThrow(/bytes of memory/));
    const clone = await kvm.launch({ restore: { directory } }, shells[1]);
    expect(clone.identity.pid).toBe(shells[1]!.pid);
    await clone.booted;
    // It is as complete a microVM as any: it can be snapshotted, as a difference from what it went on from.
    const diff = join(kvm.path, `diff-${++count}`);
    expect(await clone.snapshot(diff, { kind: 'diff', base: directory })).toMatchObject({ kind: 'diff' });
  });

  it('primes nothing with what is no snapshot, and a primed shell ends when it is discarded', async () => {
    const { directory } = await template(1);
    const folder = join(kvm.path, `spoilt-${++count}`);
    mkdirSync(folder);
    for (const name of ['state', 'memory']) copyFileSync(join(directory, name), join(folder, name));
    truncateSync(join(folder, 'memory'), 4096);
    const shell = await prepare();
    await expect(kvm.driver.prime(shell, folder)).rejects.toThrow(/cannot be made ready: .*memory/);
    await shell.ended;
    await expect(kvm.driver.prime(shell, directory)).rejects.toMatchObject({ code: 'ESRCH' });
    const primed = await prime(directory);
    primed.discard();
    await primed.ended;
    await expect(kvm.launch({ restore: { directory } }, primed)).rejects.toMatchObject({ code: 'ESRCH' });
  });

  it('restores a diff of a clone, and its own snapshot', async () => {
    const { directory } = await template(8);
    const clone = await kvm.launch({ restore: { directory } });
    await says(clone, /generation/);
    const diff = join(kvm.path, `diff-${++count}`);
    const report = await clone.snapshot(diff, { kind: 'diff', base: directory });
    expect(report.kind).toBe('diff');
    expect(report.pages).toBeGreaterThan(0);
    expect(report.pages).toBeLessThan(200);
    await expect(describeSnapshot(diff, { verifyMemory: true })).resolves.toMatchObject({ memoryMiB: 64 });
    const second = await kvm.launch({ restore: { directory: diff } });
    await second.booted;
    // The base is the last snapshot, and no other one.
    await expect(clone.snapshot(join(kvm.path, 'no'), { kind: 'diff', base: directory })).rejects.toThrow(
      /not this microVM's last snapshot/,
    );
    expect(readdirSync(join(kvm.path, 'no'))).toEqual([]);
  });

  it('refuses files that are no snapshot, with what is wrong', async () => {
    const { directory } = await template(1);
    const other = await template(1);
    const problem = async (change: (folder: string) => void) => {
      const folder = join(kvm.path, `spoilt-${++count}`);
      mkdirSync(folder);
      for (const name of ['state', 'memory']) copyFileSync(join(directory, name), join(folder, name));
      change(folder);
      const vm = await kvm.launch({ restore: { directory: folder } }).catch((error: Error) => error);
      const end = vm instanceof Error ? vm : await vm.booted.catch((error: unknown) => error);
      expect(end).toBeInstanceOf(Error);
      if (end instanceof VmmExitedError) expect(end.report).toMatchObject({ reason: 'vmmError' });
      return describeSnapshot(folder, { verifyMemory: true }).then(
        () => 'none',
        (error: unknown) => (error as SnapshotError).problem,
      );
    };
    const patch = (name: string, at: number, byte: number) => (folder: string) => {
      const bytes = readFileSync(join(folder, name));
      bytes[at] = byte;
      writeFileSync(join(folder, name), bytes);
    };
    expect(await problem(patch('state', 0, 0))).toBe('foreign');
    expect(await problem(patch('state', 8, 9))).toBe('unsupportedVersion');
    expect(await problem(patch('state', 40, 1))).toBe('corrupt');
    expect(await problem((folder) => truncateSync(join(folder, 'state'), 100))).toBe('truncated');
    expect(await problem((folder) => truncateSync(join(folder, 'state'), 9000))).toBe('truncated');
    expect(await problem((folder) => truncateSync(join(folder, 'memory'), 4096))).toBe('truncated');
    expect(await problem((folder) => copyFileSync(join(other.directory, 'memory'), join(folder, 'memory')))).toBe(
      'foreign',
    );
    await expect(describeSnapshot(join(kvm.path, 'nothing'))).rejects.toMatchObject({ problem: 'missing' });
  });

  it('writes a live snapshot of one instant while the guest writes to its memory', async () => {
    const vm = await kvm.launch({ cmdline: 'touch=40 recheck stir=100' });
    await says(vm, /touched/);
    const directory = join(kvm.path, `live-${++count}`);
    const report = await vm.snapshot(directory, { live: true });
    const { tracking, roundBytes } = report.copy;
    expect(tracking).not.toBe('none');
    expect(roundBytes.length).toBeGreaterThan(1);
    expect(roundBytes[0]).toBeGreaterThanOrEqual(40 * 1024 * 1024);
    expect(roundBytes.reduce((sum, bytes) => sum + bytes, 0)).toBe(report.pages * 4096);
    expect(report.pauseNs).toBeLessThan(report.totalNs);
    expect(vm.stats().state).toBe('running');
    await describeSnapshot(directory, { verifyMemory: true });
    const clone = await kvm.launch({ restore: { directory } });
    await says(clone, /40 MiB intact/);
  });

  it('leaves the guest standing still where that is wanted, and a guest that was paused paused', async () => {
    const vm = await kvm.launch({ cmdline: 'touch=1' });
    await says(vm, /touched/);
    for (const live of [false, true]) {
      const { copy } = await vm.snapshot(join(kvm.path, `still-${++count}`), { live, resume: false });
      expect(copy.tracking === 'none').toBe(!live);
      expect(vm.stats().state).toBe('paused');
      await vm.snapshot(join(kvm.path, `still-${++count}`), { live });
      expect(vm.stats().state).toBe('paused');
      await vm.resume();
    }
    expect((await vm.snapshot(join(kvm.path, `goes-on-${++count}`))).copy).toMatchObject({
      tracking: 'none',
      roundBytes: [expect.any(Number), 0],
    });
    expect(vm.stats().state).toBe('running');
  });

  it('answers other commands meanwhile, and leaves no half snapshot when the guest ends', async () => {
    const vm = await kvm.launch({ cmdline: 'touch=48' });
    await says(vm, /touched/);
    const directory = join(kvm.path, `meanwhile-${++count}`);
    const writing = vm.snapshot(directory, { live: true }).then(
      () => 'whole',
      (error: unknown) => error,
    );
    await vm.pressPowerButton();
    expect(await vm.exited).toMatchObject({ reason: 'powerOff' });
    // It may have been quicker; then all of it is there.
    if ((await writing) === 'whole') await describeSnapshot(directory, { verifyMemory: true });
    else expect(readdirSync(directory)).toEqual([]);
  });

  it('finds a changed byte of memory when it is asked to look', async () => {
    const { directory } = await template(1);
    const memory = readFileSync(join(directory, 'memory'));
    memory[0x100000]! ^= 1;
    writeFileSync(join(directory, 'memory'), memory);
    await expect(describeSnapshot(directory)).resolves.toBeDefined();
    await expect(describeSnapshot(directory, { verifyMemory: true })).rejects.toMatchObject({ problem: 'corrupt' });
  });

  it('restores with another disk in the place of one only where that is said, and its guest finds the new size', async () => {
    const disk = (name: string, sizeBytes: number) => {
      const path = join(kvm.path, `${name}-${++count}`);
      writeFileSync(path, '');
      truncateSync(path, sizeBytes);
      return { type: 'block' as const, path, readOnly: false, sizeBytes };
    };
    const first = disk('first', 1_048_576);
    const devices = [first, disk('second', 1_048_576)];
    const cmdline = 'write=0,0,64,7 wait=1500 id=0 id=1';
    const vm = await kvm.launch({ kernelPath: artefacts.canaryDevices, cmdline, devices });
    await says(vm, /write 0 ok/);
    const directory = join(kvm.path, `disks-${++count}`);
    await vm.snapshot(directory);
    vm.kill();
    await vm.exited;
    const larger = disk('other', 2_097_152);
    const refused = await kvm.launch({ restore: { directory }, devices: [first, larger] });
    await expect(refused.booted).rejects.toThrow(/disk of 1048576 bytes, the one given for it has 2097152/);
    const clone = await kvm.launch({ restore: { directory }, devices: [first, { ...larger, replaced: true }] });
    expect(await says(clone, /id 1 ok .*(sectors=\d+) read-only/)).toBe('sectors=4096');
    expect(await says(clone, /id 0 ok .*(sectors=\d+) read-only/)).toBe('sectors=2048');
  });

  it('does not restore another shape of machine', async () => {
    const { directory } = await template(1);
    for (const [change, reason] of [
      [{ memoryMiB: 32 }, /bytes of memory/],
      [{ vcpus: 2 }, /number of vCPUs/],
      [{ irqchip: 'full' }, /irqchip/],
      [{ devices: [{ type: 'rng' }] }, /number of devices/],
    ] as const) {
      const vm = await kvm.launch({ ...(change as Partial<LaunchSpec>), restore: { directory } });
      await expect(vm.booted).rejects.toThrow(reason);
    }
  });

  it('leaves nothing behind when the VMM dies or refuses', async () => {
    const vm = await kvm.launch({ cmdline: 'touch=48' });
    await says(vm, /touched/);
    const directory = join(kvm.path, `half-${++count}`);
    const writing = vm.snapshot(directory);
    vm.kill();
    // It may have been quicker; then all of it is there.
    const outcome = await writing.then(
      () => 'whole',
      (error: unknown) => error,
    );
    if (outcome === 'whole') await describeSnapshot(directory, { verifyMemory: true });
    else {
      expect(outcome).toBeInstanceOf(VmmControlError);
      expect(readdirSync(directory)).toEqual([]);
    }
    await vm.exited;
    await expect(vm.snapshot(directory)).rejects.toThrow(VmmControlError);
  });
});
