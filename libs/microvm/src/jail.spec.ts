import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { artefacts, describeWithKvm } from '../../../test/support/kvm';
import { useDriver } from '../../../test/support/kvm-driver';
import { findProgram } from '../../../test/support/oci-image';
import {
  barrierNames,
  createMicrovmDriver,
  type LaunchSpec,
  type ShellSpec,
  type VmmIdentity,
  VmmLaunchError,
} from './index';

const ALL = [
  'mounts',
  'network',
  'ipc',
  'uts',
  'pids',
  'user',
  'cgroup',
  'ids',
  'capabilities',
  'rlimits',
  'seccomp',
] as const;
const isAlive = (pid: number) => existsSync(`/proc/${pid}`);
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

describeWithKvm('jailed VMMs and shells', () => {
  const kvm = useDriver();
  const spec = (cmdline: string, changes: Partial<LaunchSpec> = {}) => kvm.spec({ cmdline, ...changes });
  /** Everything that this agent can have here: all of it as root. */
  const strictest = (): ShellSpec => {
    const { barriers } = kvm.driver.jail();
    const own = barriers.includes('ids')
      ? { uid: 4_000_021, gid: 4_000_022 }
      : { uid: process.getuid!(), gid: process.getgid!() };
    return { barriers, ...own, openFiles: 128, fileBytes: 2 ** 30 };
  };

  it('says which barriers can be put up, and why the others cannot', () => {
    const { barriers, missing } = kvm.driver.jail();
    expect([...barriers, ...missing.map(({ name }) => name)].sort()).toEqual([...ALL].sort());
    for (const { name, reason } of missing) {
      process.stderr.write(`SKIPPED: barrier ${name} is not possible here: ${reason}\n`);
      expect(reason).not.toBe('');
    }
    expect(barriers).toEqual(expect.arrayContaining(['capabilities', 'rlimits']));
    expect(kvm.driver.jail()).toEqual({ barriers, missing });
  });

  it('launches into a prepared shell, whose process becomes the microVM', async () => {
    const jail = strictest();
    const shell = await kvm.driver.prepare(jail);
    expect(shell.barriers).toEqual(jail.barriers);
    const vm = await kvm.launch({ cmdline: 'idle', vcpus: 2 }, shell);
    expect(vm.identity.pid).toBe(shell.pid);
    await vm.booted;
    while (vm.stats().vcpuTids.length < 2) await nextTurn();
    const stats = vm.stats();
    expect(barrierNames(stats.barriers)).toEqual(jail.barriers);
    // In its own pid namespace the VMM knows other numbers; these are ours.
    const tasks = readdirSync(`/proc/${vm.identity.pid}/task`).map(Number);
    expect(tasks).toEqual(expect.arrayContaining(stats.vcpuTids));
    for (const tid of stats.vcpuTids) {
      expect(readFileSync(`/proc/${vm.identity.pid}/task/${tid}/comm`, 'utf8')).toMatch(/^vcpu:/);
    }
    const status = readFileSync(`/proc/${vm.identity.pid}/status`, 'utf8');
    expect(status).toMatch(new RegExp(`^Uid:\\t${jail.uid}\\t${jail.uid}\\t`, 'm'));
    expect(status).toMatch(/^CapEff:\t0+$/m);

    await vm.pause();
    await vm.resume();
    await expect(kvm.driver.launch(spec('idle'), shell)).rejects.toThrow(/was used/);
    expect(await kvm.driver.find(vm.id, vm.identity.directory)).toEqual(vm.identity);
    await vm.pressPowerButton();
    expect(await vm.exited).toMatchObject({ reason: 'powerOff', exitCode: 0 });
  });

  it('launches without a shell into the same jail', async () => {
    const jail = strictest();
    const vm = await kvm.launch({ cmdline: 'exit=reboot', shell: jail });
    expect(await vm.exited).toMatchObject({ reason: 'reboot' });
    expect(barrierNames(vm.stats().barriers)).toEqual(jail.barriers);
  });

  it('has a jail without any rights by default', async () => {
    const vm = await kvm.launch({ cmdline: 'idle' });
    await vm.booted;
    expect(barrierNames(vm.stats().barriers)).toEqual(['capabilities', 'rlimits', 'seccomp']);
  });

  it('gives a microVM its devices inside the jail', async () => {
    const overlayPath = join(kvm.path, 'overlay');
    const base = join(kvm.path, 'base');
    writeFileSync(base, Buffer.alloc(4096, 'base'));
    const vm = await kvm.launch({
      cmdline: 'idle',
      shell: strictest(),
      consoleLimit: { bytes: { size: 1000, burst: 5, refillMs: 100 } },
      devices: [
        { type: 'rng' },
        { type: 'vsock', guestCid: 77 },
        { type: 'balloon', statisticsMs: 1000 },
        { type: 'block', path: base, readOnly: false, sizeBytes: 8192, overlayPath, serial: 'root' },
      ],
    });
    await vm.booted;
    expect(readdirSync(vm.identity.directory).sort()).toEqual(['control.sock', 'pages', 'vsock.sock']);
    expect(existsSync(overlayPath)).toBe(true);
    const { devices, balloon } = vm.stats();
    expect(devices).toHaveLength(4);
    expect(devices[0]).toEqual({
      ...{ reads: 0, writes: 0, readBytes: 0, writeBytes: 0 },
      ...{ flushes: 0, errors: 0, throttled: 0, interrupts: 0 },
    });
    expect(balloon).toMatchObject({ targetBytes: 0, actualBytes: 0 });
    await vm.setLimit(3, 0, { operations: { size: 10, refillMs: 100 } });
    await vm.setLimit('console', 0, {});
    await expect(vm.setLimit(9, 0, {})).rejects.toThrow(/ENODEV/);
    expect(await vm.type(Buffer.from('hello'))).toBe(5);
  });

  it('removes what it made when a launch fails, the shell included', async () => {
    const shell = await kvm.driver.prepare(strictest());
    const overlayPath = join(kvm.path, 'overlay-of-nothing');
    const disk = { type: 'block', path: artefacts.canary, readOnly: false, sizeBytes: 4096 } as const;
    const order = spec('idle', {
      devices: [{ ...disk, overlayPath }, { ...disk, path: '/no/disk' }, { type: 'vsock' }],
    });
    await expect(kvm.driver.launch(order, shell)).rejects.toMatchObject({ name: 'VmmLaunchError', code: 'ENOENT' });
    await shell.ended;
    expect(isAlive(shell.pid)).toBe(false);
    expect(readdirSync(order.directory)).toEqual([]);
    expect(existsSync(overlayPath)).toBe(false);
  });

  it('ends shells that are discarded, killed or left behind', async () => {
    const jail = strictest();
    const [discarded, killed] = await Promise.all([kvm.driver.prepare(jail), kvm.driver.prepare(jail)]);
    discarded.discard();
    discarded.discard();
    process.kill(killed.pid, 'SIGKILL');
    await Promise.all([discarded.ended, killed.ended]);
    expect([discarded.pid, killed.pid].some(isAlive)).toBe(false);
    await expect(kvm.driver.launch(spec('idle'), killed)).rejects.toThrow(VmmLaunchError);

    const second = createMicrovmDriver({ vmmPath: artefacts.vmm, bindingPath: artefacts.binding });
    const foreign = await second.prepare(jail);
    await expect(kvm.driver.launch(spec('idle'), foreign)).rejects.toThrow(/shell/);
    second.close();
    await foreign.ended;
    expect(isAlive(foreign.pid)).toBe(false);
  });

  describe('when the agent dies', () => {
    const agent = join(__dirname, 'testing', 'launching-agent.ts');
    const register = join(__dirname, '../../../test/support/ts-register.cjs');
    const start = (...words: unknown[]): ChildProcess =>
      spawn(
        process.execPath,
        ['--conditions=jest', '-r', register, agent, ...words.map((word) => JSON.stringify(word))],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
    const firstLine = async (child: ChildProcess): Promise<unknown> => {
      let printed = '';
      child.stdout!.setEncoding('utf8');
      for await (const text of child.stdout!) {
        printed += text as string;
        if (printed.endsWith('\n')) break;
      }
      return JSON.parse(printed) as unknown;
    };
    const kill = async (child: ChildProcess) => {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    };
    const options = () => ({ vmmPath: artefacts.vmm, bindingPath: artefacts.binding });

    it('a jailed microVM runs on, and is found and adopted', async () => {
      const order = spec('idle', { shell: strictest() });
      const child = start(options(), order);
      const { identity } = (await firstLine(child)) as { identity: VmmIdentity };
      await kill(child);
      expect(await kvm.driver.find(order.id, order.directory)).toEqual(identity);
      const vm = await kvm.driver.adopt(order.id, identity);
      kvm.held.add(vm);
      await vm.pause();
      expect(barrierNames(vm.stats().barriers)).toEqual(order.shell!.barriers);
      await vm.resume();
    });

    it('its shells end by themselves', async () => {
      const child = start(options(), spec('idle'), strictest());
      const { shell } = (await firstLine(child)) as { shell: number };
      expect(isAlive(shell)).toBe(true);
      await kill(child);
      while (isAlive(shell)) await nextTurn();
    });
  });

  it('opens persistent taps in network namespaces', async () => {
    if (process.getuid!() !== 0 || !existsSync('/dev/net/tun') || !findProgram('ip')) {
      process.stderr.write('SKIPPED: taps: need root, /dev/net/tun and ip (Debian package iproute2)\n');
      return;
    }
    // A namespace of the test's own, for as long as this process lives.
    const keeper = spawn('unshare', ['--net', 'cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
    try {
      keeper.stdin.write('there\n');
      await once(keeper.stdout, 'data');
      const space = `/proc/${keeper.pid}/ns/net`;
      // One that is made by opening it would have no address, and its guest would talk to nobody.
      expect(() => kvm.driver.openTap('vt-test', space)).toThrow(
        expect.objectContaining({ code: 'ENODEV', message: expect.stringContaining('is not there') as string }),
      );
      const devices = () => readFileSync(`/proc/${keeper.pid}/net/dev`, 'utf8');
      expect(devices()).not.toContain('vt-test:');
      const make = 'tuntap add dev vt-test mode tap vnet_hdr'.split(' ');
      execFileSync('nsenter', [`--net=${space}`, findProgram('ip')!, ...make], { timeout: 60_000 });
      const first = kvm.driver.openTap('vt-test', space);
      expect(devices()).toContain('vt-test:');
      expect(readFileSync('/proc/self/net/dev', 'utf8')).not.toContain('vt-test:');
      expect(() => kvm.driver.openTap('vt-test', space)).toThrow(/in use/);
      const flags = /flags:\s*0?(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${first}`, 'utf8'))!;
      expect(parseInt(flags[1]!, 8) & 0o4000).toBe(0o4000); // O_NONBLOCK
      closeSync(first);
      expect(devices()).toContain('vt-test:');
      closeSync(kvm.driver.openTap('vt-test', space));
      expect(() => kvm.driver.openTap('', space)).toThrow(/name/);
      expect(() => kvm.driver.openTap('a'.repeat(16), space)).toThrow(/name/);
      expect(() => kvm.driver.openTap('vt', '/no/namespace')).toThrow(/network namespace/);
      expect(() => kvm.driver.openTap('vt', artefacts.canary)).toThrow(/enter/);
    } finally {
      const ended = once(keeper, 'exit');
      keeper.stdin.end();
      await ended;
    }
  });
});
