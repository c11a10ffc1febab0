import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ArchiveEntry, writeCpioArchive } from '#cpio';
import { busyboxFileSystem, EmulatedHost } from '#emulated-host';
import { fetchKernelPackageSync, type KernelFlavour, type KernelPackage } from '#kernel-package';
import { describeUnless } from '../support/skip-aloud';
import { type MicrovmRun, microvmRun, runMicrovm } from './microvm-report';
import { findNativeBuild } from './native-build';
import { emulatedHostTools, KERNEL_CACHE } from './tools';

const GUEST_SECONDS = '150';
const WHOLE_DEADLINE_MS = 600_000;
const FLAVOURS: readonly KernelFlavour[] = ['cloud', 'generic'];

const found = emulatedHostTools();
const build = findNativeBuild();
const kernels = found.available ? bothKernels() : found.reason;
const obstacle = !found.available
  ? found.reason
  : typeof build === 'string'
    ? build
    : typeof kernels === 'string'
      ? kernels
      : undefined;

function bothKernels(): readonly KernelPackage[] | string {
  try {
    return FLAVOURS.map((flavour) => fetchKernelPackageSync({ cacheFolder: KERNEL_CACHE, flavour }));
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause);
  }
}

/** Says what the kernel found in the machine, and then ends the way its command line asks for. */
const INIT = `#!/bin/busybox sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
/bin/busybox mkdir -p /sbin /usr/bin /usr/sbin
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
devmem 0xC0000000 8 123
echo "guest: kernel $(uname -r)"
echo "guest: $(nproc) processors"
echo "guest: clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
echo "guest: kernel command line $(cat /proc/cmdline)"
sed -n 's/^N: Name=/guest: input /p' /proc/bus/input/devices
for device in /sys/bus/acpi/devices/*; do
  echo "guest: acpi $(basename $device) $(cat $device/path 2> /dev/null)"
done
cat /second-archive 2> /dev/null
case $(grep -o 'volley.end=[a-z-]*' /proc/cmdline | cut -d = -f 2) in
  report)
    devmem 0xC0000008 32 $((0x01000000 + 42)) ;;
  ctrl-alt-del)
    echo "guest: waiting for the keyboard"
    sleep 1000 ;;
  console)
    stty -echo
    echo "guest: waiting for a line"
    read line
    echo "guest: the line was '$line'" ;;
esac
poweroff -f
`;

const linux = (name: string, flavour: KernelFlavour, end: string, ...more: string[]): string =>
  runMicrovm(name, [
    ...['--kernel', `/vmlinuz-${flavour}`, '--initrd', '/guest.cpio', '--memory', '256'],
    ...['--cmdline', `console=ttyS0 quiet panic=1 mitigations=off volley.end=${end}`],
    ...['--timeout', GUEST_SECONDS, ...more],
  ]);

const SCRIPT = [
  linux('cloud-1', 'cloud', 'report', '--initrd-extra', '/extra.cpio'),
  linux('cloud-4', 'cloud', 'console', '--vcpus', '4', '--type-on', 'waiting for a line', '--type', 'hello there'),
  linux('generic-1', 'generic', 'ctrl-alt-del', '--ctrl-alt-del-on', 'waiting for the keyboard'),
  linux('generic-4', 'generic', 'poweroff', '--vcpus', '4', '--rng', 'yes'),
].join('\n');

describeUnless(obstacle, "the machine as the distribution's kernels find it", () => {
  let host: EmulatedHost | undefined;
  let folder: string | undefined;
  let runs: (name: string) => MicrovmRun;

  beforeAll(async () => {
    if (!found.available || typeof build === 'string' || typeof kernels === 'string') return;
    folder = mkdtempSync(join(tmpdir(), 'volley-stock-platform-'));
    const archive = (name: string, entries: ArchiveEntry[]): string => {
      const path = join(folder ?? '', name);
      writeCpioArchive(path, entries);
      return path;
    };
    const guest = archive('guest.cpio', [
      ...busyboxFileSystem(found.tools.busybox),
      { path: '/init', mode: 0o755, content: INIT },
    ]);
    const extra = archive('extra.cpio', [{ path: '/second-archive', content: 'guest: the second archive is here\n' }]);
    host = EmulatedHost.start(found.tools, {
      memoryMiB: 1280,
      files: [
        { path: '/bin/volley-vmm', mode: 0o755, from: build.vmm },
        { path: '/bin/volley-run', mode: 0o755, from: build.run },
        ...kernels.map((kernel, i) => ({ path: `/vmlinuz-${FLAVOURS[i]}`, from: kernel.image })),
        { path: '/guest.cpio', from: guest },
        { path: '/extra.cpio', from: extra },
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

  it.each([
    ['cloud-1', 0, 1],
    ['cloud-4', 0, 4],
    ['generic-1', 1, 1],
    ['generic-4', 1, 4],
  ])('boots without an interval timer: %s', (name, kernel, processors) => {
    const { console, report } = runs(name);
    expect(console).toContain(`guest: kernel ${(kernels as readonly KernelPackage[])[kernel]?.release}`);
    expect(console).toContain(`guest: ${processors} processors`);
    expect(console).toContain('guest: clock kvm-clock');
    expect(report).toMatchObject({ exit: name === 'generic-1' ? 'REBOOT' : 'POWER_OFF', status: 0 });
  });

  it('unpacks the second archive behind the first, and takes the report of how the workload ended', () => {
    const { console, report } = runs('cloud-1');
    expect(console).toContain('guest: the second archive is here');
    expect(report.guestReport).toBe(0x0100_0000 + 42);
  });

  it('reads what is typed on the serial console', () => {
    expect(runs('cloud-4').console).toContain("guest: the line was 'hello there'");
  });

  it('has a keyboard whose Ctrl-Alt-Del reboots', () => {
    const { console, report } = runs('generic-1');
    expect(console).toMatch(/guest: input "AT .*keyboard"/);
    expect(report.exit).toBe('REBOOT');
  });

  it('finds the generation id and its virtio devices in the tables', () => {
    const { console } = runs('generic-4');
    expect(console).toMatch(/guest: acpi VMGENCTR:00 .*VGEN/);
    expect(console).toMatch(/guest: acpi LNRO0005:00 .*VR00/);
  });
});
