import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCpioArchive } from '#cpio';
import { EmulatedHost } from '#emulated-host';
import { fetchKernelPackageSync } from '#kernel-package';
import { describeUnless } from '../support/skip-aloud';
import { type MicrovmRun, microvmRun, runMicrovm } from './microvm-report';
import { findNativeBuild } from './native-build';
import { type GuestEnd, stockGuestCommandLine, stockGuestFileSystem } from './stock-guest';
import { emulatedHostTools, KERNEL_CACHE } from './tools';

const found = emulatedHostTools();
const build = findNativeBuild();
const obstacle = found.available ? (typeof build === 'string' ? build : undefined) : found.reason;

/** For one microVM; generous, because everything in it is emulated twice, perhaps on a busy machine. */
const GUEST_SECONDS = '100';
/** Some 40 s on two free cores, 180 s on two cores that eighteen others want. */
const WHOLE_DEADLINE_MS = 420_000;

const linux = (name: string, end: GuestEnd, ...more: string[]): string =>
  runMicrovm(name, [
    ...['--kernel', '/vmlinuz', '--initrd', '/guest.cpio', '--cmdline', stockGuestCommandLine(end)],
    ...['--timeout', GUEST_SECONDS, ...more],
  ]);
const canary = (name: string, cmdline: string, ...more: string[]): string =>
  runMicrovm(name, [
    ...['--kernel', '/canary.bin', '--protocol', 'flat', '--memory', '32', '--cmdline', cmdline],
    ...['--timeout', GUEST_SECONDS, ...more],
  ]);

const SNAPSHOT = ['--snapshot', '/template', '--snapshot-on', 'waiting to be cloned'];
const SCRIPT = [
  canary('canary-poweroff', 'touch=8 exit=poweroff'),
  canary('canary-reboot', 'exit=reboot'),
  canary('canary-panic', 'exit=panic'),
  canary('canary-triple-fault', 'exit=triplefault'),
  canary('canary-button', 'idle', '--power-button-on', 'canary'),
  linux('linux-poweroff', 'poweroff', '--memory', '256'),
  linux('linux-reboot', 'reboot', '--memory', '256', '--vcpus', '2'),
  linux('linux-panic', 'panic', '--memory', '3328'),
  linux('linux-panic-silent', 'panic-silent', '--memory', '256'),
  linux('linux-button', 'power-button', '--memory', '256', '--power-button-on', 'waiting for the power button'),
  linux('linux-template', 'clone', ...['--kernel', '/generic', '--memory', '256', '--vcpus', '2'], ...SNAPSHOT),
  runMicrovm('linux-clone', ['--restore', '/template', '--memory', '256', '--vcpus', '2', '--timeout', GUEST_SECONDS]),
  linux('linux-too-small', 'poweroff', '--memory', '32'),
].join('\n');

describeUnless(obstacle, 'a host with hardware KVM', () => {
  let host: EmulatedHost | undefined;
  let folder: string | undefined;
  let runs: (name: string) => MicrovmRun;
  let kernelRelease = '';

  beforeAll(async () => {
    if (!found.available || typeof build === 'string') return;
    folder = mkdtempSync(join(tmpdir(), 'volley-stock-guest-'));
    const guest = join(folder, 'guest.cpio');
    writeCpioArchive(guest, stockGuestFileSystem(found.tools));
    const generic = fetchKernelPackageSync({ cacheFolder: KERNEL_CACHE, flavour: 'generic' });
    kernelRelease = found.tools.kernel.release;
    host = EmulatedHost.start(found.tools, {
      memoryMiB: 1024,
      files: [
        { path: '/bin/volley-vmm', mode: 0o755, from: build.vmm },
        { path: '/bin/volley-run', mode: 0o755, from: build.run },
        { path: '/canary.bin', from: build.canary },
        { path: '/vmlinuz', from: found.tools.kernel.image },
        // Has a driver for the generation id; the cloud kernel has none.
        { path: '/generic', from: generic.image },
        { path: '/guest.cpio', from: guest },
      ],
      script: SCRIPT,
      lifetimeMs: WHOLE_DEADLINE_MS,
    });
    await host.scriptStatus(WHOLE_DEADLINE_MS);
    const { console } = host;
    runs = (name) => microvmRun(console, name);
  }, WHOLE_DEADLINE_MS + 10_000);

  afterAll(async () => {
    await host?.stop();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  describe('runs the canary, which', () => {
    it.each([
      ['canary-poweroff', 'POWER_OFF'],
      ['canary-reboot', 'REBOOT'],
      ['canary-panic', 'PANIC'],
      ['canary-triple-fault', 'TRIPLE_FAULT'],
    ])('boots and ends: %s is %s', (name, exit) => {
      const { report } = runs(name);
      expect(report).toMatchObject({ exit, status: 0 });
      expect(report.bootedUs).toBeGreaterThan(0);
    });

    it('touches its memory and powers off at the power button', () => {
      expect(runs('canary-poweroff').console).toContain('touched 8 MiB');
      expect(runs('canary-button').report).toMatchObject({ exit: 'POWER_OFF', status: 0 });
    });
  });

  describe("boots the distribution's unmodified kernel, which", () => {
    it('reaches user space, says "booted" and powers off', () => {
      const { console, report } = runs('linux-poweroff');
      expect(console).toContain(`guest: kernel ${kernelRelease}`);
      expect(console).toContain('guest: 1 processors');
      expect(console).toContain('guest: clock kvm-clock');
      expect(report).toMatchObject({ exit: 'POWER_OFF', message: 'the guest powered off', status: 0 });
      expect(report.bootedUs).toBeGreaterThan(0);
      expect(report.exitedUs).toBeGreaterThan(report.bootedUs);
    });

    it('wakes its second processor, and reboots without being told how', () => {
      const { console, report } = runs('linux-reboot');
      expect(console).toContain('guest: 2 processors');
      expect(report).toMatchObject({ exit: 'REBOOT', status: 0 });
    });

    it('uses memory on both sides of the device window, and reports a panic', () => {
      const { console, report } = runs('linux-panic');
      // 3 GiB lie below the window; less than that would mean the rest was lost.
      const memoryKiB = Number(/guest: (\d+) kB of memory/.exec(console)?.[1]);
      expect(memoryKiB).toBeGreaterThan(3_200_000);
      expect(report).toMatchObject({ exit: 'PANIC', status: 0 });
    });

    it('looks like a reboot when it panics without the driver of the panic port', () => {
      expect(runs('linux-panic-silent').report).toMatchObject({ exit: 'REBOOT', status: 0 });
    });

    it('feels the power button', () => {
      const { console, report } = runs('linux-button');
      expect(console).toContain('guest: the power button was pressed');
      expect(report).toMatchObject({ exit: 'POWER_OFF', status: 0 });
    });

    it('goes on from a snapshot with all processors, hears of its new generation id, and keeps time', () => {
      expect(runs('linux-template').console).toContain('a snapshot with a pause of');
      const { console, report } = runs('linux-clone');
      // None of this was on the console before the snapshot.
      expect(console).toContain('guest: crng reseeded due to virtual machine fork');
      expect(console).toContain('guest: 2 processors ran');
      const [before, after] = /guest: uptime ([\d.]+) then ([\d.]+)/.exec(console)!.slice(1).map(Number);
      expect(after! - before!).toBeGreaterThanOrEqual(1);
      expect(before).toBeLessThan(Number(GUEST_SECONDS));
      expect(report).toMatchObject({ exit: 'POWER_OFF', message: 'the guest powered off', status: 0 });
      // The guest's second write of its boot timer.
      expect(report.bootedUs).toBeGreaterThan(0);
    });

    it('is refused with the reason when the guest is too small for it', () => {
      const { report } = runs('linux-too-small');
      expect(report).toMatchObject({ exit: 'VMM_ERROR', status: 1 });
      expect(report.message).toContain('the kernel needs memory up to');
    });
  });
});
