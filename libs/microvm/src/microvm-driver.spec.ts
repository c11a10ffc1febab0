import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { artefacts, describeWithKvm } from '../../../test/support/kvm';
import { useDriver } from '../../../test/support/kvm-driver';
import {
  createMicrovmDriver,
  type LaunchSpec,
  type MicrovmProcess,
  type ShellSpec,
  VmmControlError,
  VmmExitedError,
  VmmGoneError,
  VmmLaunchError,
  type VmmIdentity,
  VmmPageError,
} from './index';

/** As ourselves, behind barriers that need no rights. */
const unprivileged: ShellSpec = {
  barriers: ['capabilities', 'rlimits', 'seccomp'],
  uid: process.getuid!(),
  gid: process.getgid!(),
  openFiles: 256,
  fileBytes: 2 ** 40,
};
const openDescriptors = () => readdirSync('/proc/self/fd').length;
const isAlive = (pid: number) => existsSync(`/proc/${pid}`);
const children = () =>
  readdirSync('/proc/self/task').flatMap((task) =>
    readFileSync(`/proc/self/task/${task}/children`, 'utf8').split(' ').filter(Boolean),
  );

describeWithKvm('the microVM driver with canaries on KVM', () => {
  const kvm = useDriver();
  const spec = (cmdline: string, changes: Partial<LaunchSpec> = {}) => kvm.spec({ cmdline, ...changes });
  const launch = (cmdline: string, changes: Partial<LaunchSpec> = {}) => kvm.launch({ cmdline, ...changes });

  it('probes KVM', () => {
    const probe = kvm.driver.probe();
    expect(probe).toMatchObject({ available: true, apiVersion: 12 });
    expect(['hardware', 'software']).toContain(probe.kind);
    expect(probe.maxVcpus).toBeGreaterThan(0);
    expect(probe.capabilities?.['splitIrqchip']).toBe(1);
  });

  it('launches a process of its own that boots and prints', async () => {
    const before = process.hrtime.bigint();
    const vm = await launch('idle');
    const bootedNs = await vm.booted;
    expect(bootedNs).toBeGreaterThan(before);
    const stats = vm.stats();
    expect(stats).toMatchObject({ state: 'running', pid: vm.identity.pid, guestMemoryBytes: 16 * 1024 * 1024 });
    expect(stats.launchedNs).toBeGreaterThan(before);
    expect(stats.bootedNs).toBe(bootedNs);
    expect(stats.vcpuTids).toHaveLength(1);
    for (const [earlier, later] of [
      [stats.launchedNs, stats.enteredNs],
      [stats.enteredNs, stats.vmCreatedNs],
      [stats.vmCreatedNs, stats.runNs],
      [stats.runNs, stats.bootedNs],
    ] as const) {
      expect(later).toBeGreaterThanOrEqual(earlier);
    }
    expect(vm.serial().text).toContain('16 MiB, idle');
    const titled = readFileSync(`/proc/${vm.identity.pid}/cmdline`, 'utf8');
    expect(titled.replace(/\0+$/, '')).toBe(`volley-vmm\0${vm.id}`);
    expect(vm.identity.bootId).toBe(readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
  });

  it.each([
    ['poweroff', 'powerOff'],
    ['reboot', 'reboot'],
    ['panic', 'panic'],
    ['triplefault', 'tripleFault'],
  ])('reports a guest that ends by %s as %s, after its boot', async (word, reason) => {
    const vm = await launch(`exit=${word}`);
    const [booted, report] = await Promise.all([vm.booted, vm.exited]);
    expect(report).toMatchObject({ reason, exitCode: 0 });
    expect(report.atNs).toBeGreaterThanOrEqual(booted);
    expect(vm.stats()).toMatchObject({ state: 'exited' });
    expect(vm.serial().text).toContain(`exit=${word}`);
    expect(isAlive(vm.identity.pid)).toBe(false);
  });

  it('pauses and resumes: a burning guest makes no progress while paused', async () => {
    const vm = await launch('burn=50');
    await vm.booted;
    await vm.pause();
    const paused = vm.stats();
    expect(paused.state).toBe('paused');
    const ranNs = () =>
      Number(readFileSync(`/proc/${vm.identity.pid}/task/${paused.vcpuTids[0]}/schedstat`, 'utf8').split(' ')[0]);
    const before = ranNs();
    await new Promise((resolve) => setTimeout(resolve, 100));
    // It would have run for 50 ms; a thread on its way to sleep still needs some microseconds.
    expect(ranNs() - before).toBeLessThan(1_000_000);
    await vm.pause(); // asking twice is no error
    await vm.resume();
    expect(vm.stats().state).toBe('running');
  });

  it('presses the power button, which a guest obeys or ignores', async () => {
    const obedient = await launch('idle');
    await obedient.booted;
    await obedient.pressPowerButton();
    expect(await obedient.exited).toMatchObject({ reason: 'powerOff' });

    const stubborn = await launch('nostop');
    await stubborn.booted;
    await stubborn.pressPowerButton();
    await stubborn.pause();
    expect(stubborn.stats().state).toBe('paused');
  });

  it('kills, and tells its own kills from those of others', async () => {
    const ours = await launch('idle');
    const others = await launch('idle');
    await Promise.all([ours.booted, others.booted]);
    ours.kill();
    process.kill(others.identity.pid, 'SIGKILL');
    expect(await ours.exited).toMatchObject({ reason: 'killed', signal: 9, message: expect.stringMatching(/agent/) });
    expect(await others.exited).toMatchObject({
      reason: 'killed',
      signal: 9,
      message: expect.stringMatching(/outside/),
    });
    ours.kill(); // nothing happens
    await expect(ours.pause()).rejects.toThrow(VmmControlError);
  });

  it('rejects booted when the VMM ends before', async () => {
    writeFileSync(join(kvm.path, 'loop'), Uint8Array.of(0xeb, 0xfe)); // jmp $
    const vm = await launch('', { kernelPath: join(kvm.path, 'loop') });
    vm.kill();
    await expect(vm.booted).rejects.toThrow(VmmExitedError);
  });

  it('reports what the VMM itself cannot do', async () => {
    const vm = await launch('', { bootProtocol: 'linux' }); // the canary is no Linux kernel
    const report = await vm.exited;
    expect(report.reason).toBe('vmmError');
    expect(report.message.length).toBeGreaterThan(10);
  });

  it('refuses bad specs and leaves nothing', async () => {
    const bad: [Partial<LaunchSpec>, RegExp, string?][] = [
      [{ vcpus: 0 }, /vcpus/],
      [{ memoryMiB: 2 ** 30 }, /memoryMiB/],
      [{ kernelPath: join(kvm.path, 'no-kernel') }, /cannot open the kernel/, 'ENOENT'],
      [{ kernelPath: kvm.path }, /not a file/, 'EINVAL'],
      [{ initrdPath: join(kvm.path, 'no-initrd') }, /initial RAM disk/, 'ENOENT'],
      [{ shell: { ...unprivileged, cgroupPaths: [kvm.path] } }, /not a directory of a cgroup/, 'EINVAL'],
      [
        { devices: [{ type: 'block', path: '/no-disk', readOnly: true, sizeBytes: 512 }] },
        /the disk \/no-disk/,
        'ENOENT',
      ],
      [{ devices: [{ type: 'net', tapFd: 9999, mac: '02:00:00:00:00:01' }] }, /tap descriptor 9999/, 'EBADF'],
      [{ directory: join(kvm.path, 'no-directory') }, /directory/, 'ENOENT'],
    ];
    const descriptors = openDescriptors();
    for (const [changes, message, code] of bad) {
      const order = spec('idle', changes);
      const refusal = await kvm.driver.launch(order).then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(refusal).toBeInstanceOf(VmmLaunchError);
      expect(refusal).toMatchObject({ message: expect.stringMatching(message) as string, ...(code ? { code } : {}) });
      if (existsSync(order.directory)) expect(readdirSync(order.directory)).toEqual([]);
    }
    expect(openDescriptors()).toBe(descriptors);
    expect(children()).toEqual([]);
  });

  it('does not take a directory that another VMM uses', async () => {
    const vm = await launch('idle');
    const again = { ...spec('idle'), directory: vm.identity.directory };
    await expect(kvm.driver.launch(again)).rejects.toMatchObject({ name: 'VmmLaunchError', code: 'EEXIST' });
    expect(readdirSync(vm.identity.directory).sort()).toEqual(['control.sock', 'pages']);
    await vm.booted;
  });

  it('works in a folder whose path is longer than a socket address', async () => {
    const directory = join(kvm.path, 'long-'.repeat(30), 'longer-'.repeat(20));
    mkdirSync(directory, { recursive: true });
    const vm = await launch('idle', { directory });
    await vm.booted;
    await vm.pause();
  });

  it('runs a hundred at once and leaves no descriptor, process or file behind', async () => {
    const warm = await launch('exit=poweroff');
    await warm.exited;
    warm.release();
    kvm.held.delete(warm);
    const descriptors = openDescriptors();
    const vms = await Promise.all(Array.from({ length: 100 }, () => launch('idle')));
    await Promise.all(vms.map((vm) => vm.booted));
    expect(new Set(vms.map((vm) => vm.identity.pid)).size).toBe(100);
    await Promise.all(vms.slice(0, 50).map((vm) => vm.pressPowerButton()));
    vms.slice(50).forEach((vm) => vm.kill());
    const reports = await Promise.all(vms.map((vm) => vm.exited));
    expect(reports.filter((report) => report.reason === 'powerOff')).toHaveLength(50);
    expect(reports.filter((report) => report.reason === 'killed')).toHaveLength(50);
    vms.forEach((vm) => vm.release());
    kvm.held.clear();
    expect(openDescriptors()).toBe(descriptors);
    expect(children()).toEqual([]);
  });

  it('reaps a VMM that was released while it ran', async () => {
    const vm = await launch('idle');
    await vm.booted;
    const descriptors = openDescriptors();
    vm.release();
    kvm.held.delete(vm);
    expect(() => vm.stats()).toThrow(VmmPageError);
    await expect(vm.pause()).rejects.toThrow(VmmControlError);
    // The control connection and the page file are closed, the pidfd is not: somebody has to collect the child.
    expect(openDescriptors()).toBe(descriptors - 2);
    process.kill(vm.identity.pid, 'SIGKILL');
    while (isAlive(vm.identity.pid)) await new Promise((resolve) => setImmediate(resolve));
    while (openDescriptors() > descriptors - 3) await new Promise((resolve) => setImmediate(resolve));
  });

  describe('after the agent that launched it is gone', () => {
    const agent = join(__dirname, 'testing', 'launching-agent.ts');
    const register = join(__dirname, '../../../test/support/ts-register.cjs');

    /** An agent process of its own launches a VMM and is killed. */
    const launchAndLoseAgent = async (order: LaunchSpec) => {
      const options = JSON.stringify({ vmmPath: artefacts.vmm, bindingPath: artefacts.binding });
      const child = spawn(
        process.execPath,
        ['--conditions=jest', '-r', register, agent, options, JSON.stringify(order)],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      );
      let printed = '';
      child.stdout.setEncoding('utf8');
      for await (const text of child.stdout) {
        printed += text;
        if (printed.endsWith('\n')) break;
      }
      const left = JSON.parse(printed) as { identity: VmmIdentity; bootedNs: string };
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
      return { identity: left.identity, bootedNs: BigInt(left.bootedNs) };
    };

    it('is found undisturbed, adopted, commanded and watched', async () => {
      const order = spec('idle');
      const { identity, bootedNs } = await launchAndLoseAgent(order);
      expect(isAlive(identity.pid)).toBe(true);
      expect(await kvm.driver.find(order.id, order.directory)).toEqual(identity);
      expect(await kvm.driver.find('somebody-else', order.directory)).toBeUndefined();
      expect(await kvm.driver.find(order.id, kvm.path)).toBeUndefined();

      const vm = await kvm.driver.adopt(order.id, identity);
      expect(vm.identity).toEqual(identity);
      expect(await vm.booted).toBe(bootedNs);
      expect(vm.stats()).toMatchObject({ state: 'running', pid: identity.pid, bootedNs });
      await vm.pause();
      expect(vm.stats().state).toBe('paused');
      await vm.resume();
      await vm.pressPowerButton();
      expect(await vm.exited).toMatchObject({ reason: 'powerOff' });
      vm.release();
    });

    it('is reported killed when it is, and then cannot be adopted again', async () => {
      const order = spec('idle');
      const { identity } = await launchAndLoseAgent(order);
      const vm = await kvm.driver.adopt(order.id, identity);
      process.kill(identity.pid, 'SIGKILL');
      expect(await vm.exited).toMatchObject({ reason: 'killed', message: expect.stringMatching(/adopted/) });
      vm.release();
      await expect(kvm.driver.adopt(order.id, identity)).rejects.toMatchObject({
        name: 'VmmGoneError',
        report: { reason: 'lost' },
      });
      expect(await kvm.driver.find(order.id, order.directory)).toBeUndefined();
    });

    it('that ended meanwhile is gone, with the reason it left', async () => {
      const order = spec('exit=panic after=50');
      const { identity } = await launchAndLoseAgent(order);
      // Adopted just before its end, or gone already: the same reason either way.
      const outcome = await kvm.driver.adopt(order.id, identity).catch((error: unknown) => error as VmmGoneError);
      if (!(outcome instanceof VmmGoneError)) {
        expect(await (outcome as MicrovmProcess).exited).toMatchObject({ reason: 'panic' });
        (outcome as MicrovmProcess).release();
      }
      await expect(kvm.driver.adopt(order.id, identity)).rejects.toMatchObject({
        name: 'VmmGoneError',
        report: { reason: 'panic' },
      });
    });

    it('is not mistaken for another process or another boot', async () => {
      const order = spec('idle');
      const { identity } = await launchAndLoseAgent(order);
      for (const wrong of [{ pid: process.pid }, { startTicks: '1' }, { bootId: 'other' }, { pid: 0 }, { pid: -1 }]) {
        await expect(kvm.driver.adopt(order.id, { ...identity, ...wrong })).rejects.toThrow(VmmGoneError);
      }
      const vm = await kvm.driver.adopt(order.id, identity);
      kvm.held.add(vm);
      await vm.pause();
    });

    it('takes over from an agent that still runs: the newest connection counts', async () => {
      const vm = await launch('idle');
      await vm.booted;
      const second = createMicrovmDriver({ vmmPath: artefacts.vmm, bindingPath: artefacts.binding });
      const adopted = await second.adopt(vm.id, vm.identity);
      await adopted.pause();
      await expect(vm.resume(500)).rejects.toThrow(VmmControlError);
      vm.kill();
      // Both saw the end; the first one as the parent.
      expect(await adopted.exited).toMatchObject({ reason: 'killed' });
      expect(await vm.exited).toMatchObject({ reason: 'killed', signal: 9 });
      adopted.release();
      second.close();
    });
  });

  it('refuses work after close, and leaves VMMs running', async () => {
    const second = createMicrovmDriver({ vmmPath: artefacts.vmm, bindingPath: artefacts.binding });
    const vm = await second.launch(spec('idle'));
    await vm.booted;
    second.close();
    second.close();
    await expect(second.launch(spec('idle'))).rejects.toThrow(/closed/);
    await expect(vm.pause()).rejects.toThrow(/closed/);
    expect(() => vm.stats()).toThrow(VmmPageError);
    vm.kill(); // nothing
    const again = await kvm.driver.adopt(vm.id, vm.identity);
    kvm.held.add(again);
    await again.pause();
  });

  it('says what is wrong when it cannot be made', () => {
    expect(() => createMicrovmDriver({ vmmPath: '/nowhere/volley-vmm' })).toThrow(/cannot open the VMM/);
    expect(() => createMicrovmDriver({ vmmPath: __filename })).toThrow(/not an executable file/);
    expect(() => createMicrovmDriver({ vmmPath: artefacts.vmm, launchThreads: 0 })).toThrow(RangeError);
  });
});
