import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCpioArchive, type ArchiveEntry } from '#cpio';
import { busyboxFileSystem, EmulatedHost, type EmulatedHostTools } from '#emulated-host';
import { describeUnless } from './describe-unless';
import { type MicrovmRun, microvmRun, runMicrovm } from './microvm-report';
import { findNativeBuild } from './native-build';
import { scriptHost } from './script-host';
import { emulatedHostTools } from './tools';

const found = emulatedHostTools();
const build = findNativeBuild();
const obstacle = found.available ? (typeof build === 'string' ? build : undefined) : found.reason;

const GUEST_SECONDS = '100';
const WHOLE_DEADLINE_MS = 420_000;

/** Boots, and waits until it is a clone: then it says what it has become, and that it is ready. */
const INIT = `#!/bin/busybox sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
/bin/busybox mkdir -p /sbin /usr/bin /usr/sbin
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
echo kept > /run-of-template
devmem 0xC0000000 8 123
echo "guest: ready for a snapshot"
until dmesg | grep -q 'virtual machine fork'; do sleep 0.1; done
devmem 0xC0000000 8 123
echo "guest: random $(head -c 16 /dev/urandom | hexdump -e '16/1 "%02x"')"
echo "guest: kept $(cat /run-of-template)"
echo "guest: clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
before=$(cut -d . -f 1 /proc/uptime); sleep 2; after=$(cut -d . -f 1 /proc/uptime)
echo "guest: slept $((after - before))"
echo "guest: $(nproc) processors"
poweroff -f
`;

function fileSystem(tools: EmulatedHostTools): ArchiveEntry[] {
  return [...busyboxFileSystem(tools.busybox), { path: '/init', mode: 0o755, content: INIT }];
}

const MACHINE = ['--memory', '256', '--vcpus', '2', '--rng', 'yes', '--timeout', GUEST_SECONDS];
const SCRIPT = [
  runMicrovm('template', [
    ...['--kernel', '/vmlinuz', '--initrd', '/guest.cpio', ...MACHINE],
    ...['--cmdline', 'console=ttyS0 quiet panic=1 mitigations=off'],
    ...['--snapshot', '/template', '--snapshot-on', 'ready for a snapshot'],
  ]),
  runMicrovm('clone-1', ['--restore', '/template', ...MACHINE]),
  runMicrovm('clone-2', ['--restore', '/template', ...MACHINE]),
].join('\n');

describeUnless(obstacle, 'clones of a stock Linux guest on hardware KVM', () => {
  let host: EmulatedHost | undefined;
  let folder: string | undefined;
  let runs: (name: string) => MicrovmRun;

  beforeAll(async () => {
    if (!found.available || typeof build === 'string') return;
    folder = mkdtempSync(join(tmpdir(), 'volley-stock-clone-'));
    const guest = join(folder, 'guest.cpio');
    writeCpioArchive(guest, fileSystem(found.tools));
    host = await scriptHost(
      () =>
        EmulatedHost.start(found.tools, {
          memoryMiB: 1024,
          files: [
            { path: '/bin/volley-vmm', mode: 0o755, from: build.vmm },
            { path: '/bin/volley-run', mode: 0o755, from: build.run },
            { path: '/vmlinuz', from: found.tools.kernel.image },
            { path: '/guest.cpio', from: guest },
          ],
          script: SCRIPT,
          lifetimeMs: WHOLE_DEADLINE_MS,
        }),
      WHOLE_DEADLINE_MS,
    );
    const { console } = host;
    runs = (name) => microvmRun(console, name);
  }, WHOLE_DEADLINE_MS + 10_000);

  afterAll(async () => {
    await host?.stop();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  it('writes a template of the booted guest', () => {
    expect(runs('template').console).toContain('a snapshot with a pause of');
  });

  it.each(['clone-1', 'clone-2'])(
    'goes on in %s: told of its new generation, with clock, memory and processors',
    (name) => {
      const { console, report } = runs(name);
      expect(report).toMatchObject({ exit: 'POWER_OFF', message: 'the guest powered off', status: 0 });
      // The second write of its boot timer.
      expect(report.bootedUs).toBeGreaterThan(0);
      expect(console).toContain('guest: kept kept');
      expect(console).toContain('guest: clock kvm-clock');
      expect(console).toMatch(/guest: slept [23]\b/);
      expect(console).toContain('guest: 2 processors');
    },
  );

  it('gives the clones random numbers of their own', () => {
    const [first, second] = ['clone-1', 'clone-2'].map(
      (name) => /guest: random ([0-9a-f]{32})/.exec(runs(name).console)?.[1],
    );
    expect(first).toBeDefined();
    expect(second).toBeDefined();
    expect(first).not.toBe(second);
  });
});
