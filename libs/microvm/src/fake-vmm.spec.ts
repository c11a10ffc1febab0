import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { artefacts, notBuilt } from '../../../test/support/kvm';
import { useDriver } from '../../../test/support/kvm-driver';
import { describeUnless } from '../../../test/support/skip-aloud';
import { createMicrovmDriver, type LaunchSpec, type ShellSpec, VmmControlError, VmmPageError } from './index';

/** As ourselves, behind barriers that need no rights. */
const unprivileged: ShellSpec = {
  barriers: ['capabilities', 'rlimits', 'seccomp'],
  uid: process.getuid!(),
  gid: process.getgid!(),
  openFiles: 64,
  fileBytes: 2 ** 30,
};
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

/** A stand-in that misbehaves on request, and needs no KVM for that. */
const MISBEHAVING = { vmmPath: artefacts.fakeVmm, standIn: true };

/** What the agent must survive though a sound VMM never does it. */
describeUnless(notBuilt(['fakeVmm', 'binding']), 'the microVM driver with VMMs that misbehave', () => {
  const kvm = useDriver({ kernelPath: __filename, memoryMiB: 2 }, MISBEHAVING);
  const launch = (cmdline: string, changes: Partial<LaunchSpec> = {}) => kvm.launch({ cmdline, ...changes });

  it.each([
    ['early exit-3', { reason: 'vmmError', exitCode: 3 }],
    ['early sigkill', { reason: 'killed', signal: 9 }],
    ['early sigsys', { reason: 'jailViolation', signal: 31 }],
    ['early sigsegv', { reason: 'killed', signal: 11 }],
    ['exit-3', { reason: 'vmmError', exitCode: 3 }],
    ['sigkill', { reason: 'killed', signal: 9 }],
    ['sigsys', { reason: 'jailViolation' }],
    ['panic', { reason: 'panic', exitCode: 0, message: 'guest [31m pa\ufffdnicked' }],
    ['claims-oom', { reason: 'vmmError', exitCode: 0 }],
    ['endless-message', { reason: 'vmmError', message: 'A'.repeat(255) }],
  ])('reports "%s" as %j', async (cmdline, expected) => {
    const vm = await launch(cmdline);
    expect(await vm.exited).toMatchObject(expected);
  });

  it('gives up waiting for a VMM that does not answer, and can still kill it', async () => {
    for (const cmdline of ['silent', 'deaf']) {
      const vm = await launch(cmdline);
      await expect(vm.pause(50)).rejects.toThrow(/did not answer within 50 ms/);
      vm.kill();
      expect(await vm.exited).toMatchObject({ reason: 'killed' });
    }
  });

  it('does not let unanswered commands pile up', async () => {
    const vm = await launch('silent');
    const settled = await Promise.allSettled(Array.from({ length: 100 }, () => vm.pause(200)));
    const messages = settled.map((result) => (result as PromiseRejectedResult).reason as Error).map(String);
    expect(messages.filter((message) => message.includes('EAGAIN')).length).toBeGreaterThan(0);
    expect(messages.filter((message) => message.includes('did not answer')).length).toBeGreaterThan(0);
  });

  it('tells a refusal with its errno', async () => {
    const vm = await launch('refuse-pause');
    await vm.booted;
    await expect(vm.pause()).rejects.toThrow(/refused: EBUSY/);
  });

  it('fails a command whose VMM dies over it', async () => {
    const vm = await launch('die-on-pause');
    await vm.booted;
    await expect(vm.pause()).rejects.toThrow(VmmControlError);
    expect(await vm.exited).toMatchObject({ reason: 'vmmError', exitCode: 9 });
  });

  it('survives a lost connection: the process is watched and killed all the same', async () => {
    for (const cmdline of ['hang-up', 'odd-packet', 'flood']) {
      const vm = await launch(cmdline);
      // The connection breaks at a moment of the VMM's choosing; from then on commands fail at once.
      for (;;) {
        const error = await vm.pause(20).catch((caught: unknown) => caught as Error);
        if (error instanceof VmmControlError && /no control connection/.test(error.message)) break;
      }
      vm.kill();
      expect(await vm.exited).toMatchObject({ reason: 'killed' });
    }
  });

  it('learns of a boot that the VMM did not report, at the end at the latest', async () => {
    const vm = await launch('no-note');
    await vm.pause();
    vm.kill();
    expect(await vm.booted).toBe(vm.stats().bootedNs);
  });

  it('takes one boot only', async () => {
    const vm = await launch('boot-twice');
    expect(await vm.booted).toBeGreaterThan(0n);
    await vm.pause();
  });

  it('does not trust numbers', async () => {
    const vm = await launch('huge-counters no-note');
    await vm.pause(2000);
    const stats = vm.stats();
    expect(stats.exitsTotal).toBe(Number.MAX_SAFE_INTEGER);
    expect(stats.guestMemoryBytes).toBe(Number.MAX_SAFE_INTEGER);
    const serial = vm.serial();
    expect(serial.text.length).toBeLessThanOrEqual(64 * 1024);
    expect(Number.isSafeInteger(serial.to)).toBe(true);
    vm.kill();
    const now = process.hrtime.bigint();
    const bootedNs = await vm.booted;
    expect(bootedNs).toBeGreaterThan(now - 60_000_000_000n);
    expect(bootedNs).toBeLessThan(now + 60_000_000_000n);
  });

  it.each(['bad-magic', 'other-version', 'truncate'])(
    'tells of a page file damaged by "%s" and goes on',
    async (lie) => {
      const vm = await launch(lie);
      await vm.booted;
      await vm.pause(1000).catch(() => undefined); // the fake itself may fall over its own damage
      expect(() => vm.stats()).toThrow(VmmPageError);
      expect(() => vm.serial()).toThrow(VmmPageError);
      vm.kill();
      expect((await vm.exited).reason).toBe('killed');
    },
  );

  it('decodes serial output and reads on without loss', async () => {
    const split = await launch('split-character');
    await split.booted;
    expect(split.serial()).toEqual({ text: 'héllo \ufffd ', from: 0, to: 9 });
    await split.pressPowerButton();
    await split.exited;
    expect(split.serial(100, 9).text).toBe('\ufffd');

    const babble = await launch('babble');
    await babble.booted;
    const all = babble.serial();
    expect(all.from).toBeGreaterThan(0);
    expect(all.text.split('\n').at(-2)).toBe('line 19999');
    const start = all.to - 1000;
    let read = '';
    for (let since = start; since < all.to;) {
      const part = babble.serial(77, since);
      expect(part.from).toBe(since);
      read += part.text;
      since = part.to;
    }
    expect(read).toBe(all.text.slice(-1000));
    expect(babble.serial(100, 0).from).toBeGreaterThan(0);
  });

  it('tells a VMM in bytes what it is to do', async () => {
    const vm = await launch('');
    await vm.booted;
    const told = () => vm.serial().text.trimEnd().split('\n').at(-1)!.split(' ').map(Number);
    expect(await vm.type(Uint8Array.from({ length: 200 }, (_, i) => i))).toBe(48);
    expect(told()).toEqual([7, 96, ...Array.from({ length: 96 }, (_, i) => i)]);
    await vm.setBalloon(0x1234_5678_9abc);
    expect(told().slice(0, 10)).toEqual([9, 0, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12, 0, 0]);
    await vm.setLimit('console', 1, { operations: { size: 7, burst: 8, refillMs: 9 } });
    const words = told();
    expect(words.slice(0, 10)).toEqual([8, 0, 255, 255, 255, 255, 1, 0, 0, 0]);
    expect(words.slice(10, 58).filter((_, i) => i % 8 === 0)).toEqual([0, 0, 0, 7, 8, 9]);
    await expect(vm.setLimit(0, 0, { bytes: { size: 0, refillMs: 1 } })).rejects.toThrow(/limiter.bytes.size/);
    await expect(vm.setLimit(-1, 0, {})).rejects.toThrow(VmmControlError);
    await expect(vm.setBalloon(0.5)).rejects.toThrow(/not a number of bytes/);
    await vm.pressCtrlAltDel();
  });

  it('lets a guest reach services of the host, which learn who calls', async () => {
    const listen = async (path: string, greeting: string) => {
      const heard: Promise<string> = new Promise((heard) => {
        server.once('connection', (socket) => {
          socket.once('data', (line) => {
            heard(line.toString());
            socket.end(greeting);
          });
          if (greeting === 'own') socket.end(greeting);
        });
      });
      await new Promise<void>((resolve) => server.listen(path, resolve));
      return heard;
    };
    const server = createServer();
    const service = join(kvm.path, 'metadata.sock');
    const connected = createMicrovmDriver({
      ...MISBEHAVING,
      bindingPath: artefacts.binding,
      vsockServices: { 80: service },
    });
    const ask = async (id: string, before: (directory: string) => void = () => undefined) => {
      const order = kvm.spec({ id, cmdline: 'ask-80' });
      before(order.directory);
      const vm = await connected.launch(order);
      kvm.held.add(vm);
      await vm.booted;
      return vm.serial().text;
    };
    try {
      // 111 is ECONNREFUSED, whatever the reason.
      expect(await ask('nobody-there')).toBe('refused 111\n');
      const heard = listen(service, 'welcome');
      expect(await ask('caller')).toBe('connected: welcome');
      expect(await heard).toBe('caller\n');
      server.close();
      let own: Promise<unknown> = Promise.resolve();
      const text = ask('own-port', (directory) => (own = listen(join(directory, 'vsock.sock_80'), 'own')));
      expect(await text).toBe('connected: own');
      void own;
    } finally {
      server.close();
      for (const vm of kvm.held) {
        vm.kill();
        await vm.exited;
        vm.release();
      }
      kvm.held.clear();
      connected.close();
    }
    expect(() => createMicrovmDriver({ ...MISBEHAVING, vsockServices: { [2 ** 32]: service } })).toThrow(RangeError);
  });

  it('says which barrier could not be put up, and leaves nothing', async () => {
    const unlucky = { ...unprivileged, uid: 4242 };
    await expect(kvm.driver.prepare(unlucky)).rejects.toMatchObject({
      name: 'VmmLaunchError',
      code: 'EPERM',
      message: expect.stringMatching(/jail.*ids.*bad luck/) as string,
    });
  });

  it('gives up a launch that takes too long, and clears it away when it comes', async () => {
    const hasty = createMicrovmDriver({
      ...MISBEHAVING,
      bindingPath: artefacts.binding,
      launchDeadlineMs: 0,
    });
    const order = kvm.spec({ id: 'hasty' });
    const launching = hasty.launch(order);
    // Timers run ahead of the answer when this thread has been busy for longer than the deadline.
    const busyUntil = Date.now() + 30;
    while (Date.now() < busyUntil);
    const result = await launching.then(
      () => 'launched',
      (error: Error) => error,
    );
    expect(result).toMatchObject({ name: 'VmmLaunchError', code: 'ETIMEDOUT' });
    while (readdirSync(order.directory).length > 0 || (await kvm.driver.find('hasty', order.directory)) !== undefined)
      await nextTurn();
    hasty.close();
  });

  it('puts the VMM into a cgroup from its first moment on', async () => {
    const root = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((path) =>
      existsSync(join(path, 'cgroup.controllers')),
    );
    const cgroup = root && join(root, `volley-test-${process.pid}`);
    try {
      if (cgroup) mkdirSync(cgroup);
    } catch {
      process.stderr.write('SKIPPED: birth in a cgroup: cannot make a cgroup v2 here\n');
      return;
    }
    if (!cgroup) {
      process.stderr.write('SKIPPED: birth in a cgroup: there is no cgroup v2 here\n');
      return;
    }
    const vm = await launch('', { shell: { ...unprivileged, cgroupPaths: [cgroup] } });
    expect(readFileSync(join(cgroup, 'cgroup.procs'), 'utf8').trim()).toBe(String(vm.identity.pid));
    vm.kill();
    await vm.exited;
    rmdirSync(cgroup);
  });

  it('tells the OOM killer from other killers', async () => {
    const cgroup = `/sys/fs/cgroup/memory/volley-test-${process.pid}`;
    const firstPidNamespace = execFileSync('stat', ['-Lc', '%i', '/proc/self/ns/pid'], { encoding: 'utf8' }).trim();
    if (!existsSync('/sys/fs/cgroup/memory') || firstPidNamespace !== String(0xeffffffc)) {
      process.stderr.write('SKIPPED: OOM kill: needs the v1 memory cgroup and the first pid namespace\n');
      return;
    }
    mkdirSync(cgroup);
    try {
      writeFileSync(join(cgroup, 'memory.limit_in_bytes'), String(16 << 20));
      const vm = await launch('eat-memory', { shell: { ...unprivileged, cgroupPaths: [cgroup] } });
      await vm.booted;
      expect(readFileSync(join(cgroup, 'cgroup.procs'), 'utf8').trim()).toBe(String(vm.identity.pid));
      await vm.pressPowerButton();
      expect(await vm.exited).toMatchObject({ reason: 'outOfMemory', signal: 9 });
      // And one after it is not blamed on the OOM killer.
      const other = await launch('sigkill');
      expect(await other.exited).toMatchObject({
        reason: 'killed',
        message: expect.not.stringMatching(/memory/) as string,
      });
    } finally {
      rmdirSync(cgroup);
    }
  });
});
