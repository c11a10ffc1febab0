import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCpioArchive } from '#cpio';
import { busyboxFileSystem, EmulatedHost } from '#emulated-host';
import { kernelModules } from '#kernel-package';
import { describeUnless } from '../support/skip-aloud';
import { type MicrovmRun, microvmRun, runMicrovm } from './microvm-report';
import { findNativeBuild } from './native-build';
import { emulatedHostTools } from './tools';

const HOST_MODULES = ['loop', 'crc32c_generic', 'ext4'];
const GUEST_SECONDS = '150';
const WHOLE_DEADLINE_MS = 600_000;
const MODULES = ['virtio_mmio', 'virtio_blk', 'virtio-rng', 'crc32c_generic', 'ext4'];

const found = emulatedHostTools();
const build = findNativeBuild();
const obstacle = found.available ? (typeof build === 'string' ? build : undefined) : found.reason;

/** What the guests do, by `volley.do=`. vda is raw, vdb read-only, vdc has an overlay on a base with an ext2 file system. */
function initOf(modules: readonly string[]): string {
  return `#!/bin/busybox sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
/bin/busybox mkdir -p /sbin /usr/bin /usr/sbin /mnt
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in ${modules.join(' ')}; do
  insmod /modules/$module.ko || echo "guest: no $module"
done
devmem 0xC0000000 8 123
grep virtio /proc/interrupts
case $(grep -o 'volley.do=[a-z-]*' /proc/cmdline | cut -d = -f 2) in
  look)
    for disk in vda vdb vdc; do
      at=/sys/block/$disk
      echo "guest: $disk $(cat $at/size) sectors ro=$(cat $at/ro) serial=$(cat $at/serial) cache=$(cat $at/queue/write_cache) segments=$(cat $at/queue/max_segments) discard=$(cat $at/queue/discard_max_bytes) zeroes=$(cat $at/queue/write_zeroes_max_bytes)"
    done
    echo "guest: random from $(cat /sys/class/misc/hw_random/rng_current)"
    echo "guest: $(dd if=/dev/hwrng bs=512 count=8 2>/dev/null | wc -c) random bytes"
    dd if=/dev/urandom of=/written bs=1M count=6 2>/dev/null
    dd if=/written of=/dev/vda bs=64k conv=fsync 2>/dev/null
    echo 3 > /proc/sys/vm/drop_caches
    [ "$(dd if=/dev/vda bs=1M count=6 2>/dev/null | md5sum)" = "$(md5sum < /written)" ] && echo "guest: read back what was written"
    blkdiscard -o 1048576 -l 1048576 /dev/vda && echo "guest: discarded"
    echo 3 > /proc/sys/vm/drop_caches
    [ "$(dd if=/dev/vda bs=1M count=1 skip=1 2>/dev/null | md5sum)" = "$(dd if=/dev/zero bs=1M count=1 2>/dev/null | md5sum)" ] && echo "guest: discarded bytes are gone"
    dd if=/dev/zero of=/dev/vdb bs=4k count=1 conv=fsync 2>/dev/null || echo "guest: cannot write to the read-only disk" ;;
  write)
    mount -t ext4 /dev/vdc /mnt || echo "guest: cannot mount"
    echo "guest: found $(cat /mnt/from-base) and $(ls /mnt | grep -c written)"
    dd if=/dev/urandom of=/mnt/written bs=1M count=4 2>/dev/null
    md5sum < /mnt/written > /mnt/written.md5
    umount /mnt
    echo "guest: wrote" ;;
  die)
    mount -t ext4 /dev/vdc /mnt
    md5sum < /mnt/written | cmp - /mnt/written.md5 && echo "guest: it is all there"
    echo synced > /mnt/synced
    sync
    echo "guest: now kill it"
    sleep 1000 ;;
  check)
    mount -t ext4 -o ro /dev/vdc /mnt
    md5sum < /mnt/written | cmp - /mnt/written.md5 && echo "guest: it is all there, and $(cat /mnt/synced)" ;;
esac
dmesg | grep -i -E 'I/O error|blocked for more|spurious|nobody cared' | sed 's/^/guest: kernel says: /'
poweroff -f
`;
}

const linux = (name: string, what: string, overlay: string, ...more: string[]): string =>
  runMicrovm(name, [
    ...['--kernel', '/vmlinuz', '--initrd', '/guest.cpio', '--memory', '256'],
    ...['--cmdline', `console=ttyS0 quiet panic=1 mitigations=off volley.do=${what}`],
    ...['--disk', '/raw', '--read-only-disk', '/sealed', '--disk', '/base', '--overlay', overlay, '--rng', 'yes'],
    ...['--timeout', GUEST_SECONDS, ...more],
  ]);

const SCRIPT = [
  'truncate -s 8M /raw; truncate -s 1M /sealed; truncate -s 40M /base',
  'mke2fs -F /base >/dev/null; mkdir -p /m; mount -t ext4 -o loop /base /m',
  'echo base >/m/from-base; umount /m; md5sum /base >/base.md5',
  // One processor: with two, the emulated host let this guest triple-fault once in several runs.
  linux('look', 'look', '/overlay-0', '--vcpus', '1'),
  linux('write', 'write', '/overlay-1'),
  linux('other', 'write', '/overlay-2'),
  linux('die', 'die', '/overlay-1', '--kill-on', 'now kill it'),
  linux('check', 'check', '/overlay-1'),
  'md5sum -c /base.md5 && echo "host: the base is as it was"',
  'echo "host: $(du -k /overlay-1 | cut -f 1) KiB for /overlay-1"',
].join('\n');

describeUnless(obstacle, "disks of the distribution's kernel", () => {
  let host: EmulatedHost | undefined;
  let folder: string | undefined;
  let runs: (name: string) => MicrovmRun;

  beforeAll(async () => {
    if (!found.available || typeof build === 'string') return;
    folder = mkdtempSync(join(tmpdir(), 'volley-stock-disks-'));
    const modules = kernelModules(found.tools.kernel, MODULES);
    const guest = join(folder, 'guest.cpio');
    writeCpioArchive(guest, [
      ...busyboxFileSystem(found.tools.busybox),
      ...modules.map(({ name, content }) => ({ path: `/modules/${name}.ko`, content })),
      { path: '/init', mode: 0o755, content: initOf(modules.map(({ name }) => name)) },
    ]);
    host = EmulatedHost.start(found.tools, {
      memoryMiB: 1024,
      files: [
        { path: '/bin/volley-vmm', mode: 0o755, from: build.vmm },
        { path: '/bin/volley-run', mode: 0o755, from: build.run },
        { path: '/vmlinuz', from: found.tools.kernel.image },
        { path: '/guest.cpio', from: guest },
        ...kernelModules(found.tools.kernel, HOST_MODULES).map(({ name, content }) => ({
          path: `/host-modules/${name}.ko`,
          content,
        })),
      ],
      script: `for module in ${kernelModules(found.tools.kernel, HOST_MODULES)
        .map(({ name }) => name)
        .join(' ')}; do insmod /host-modules/$module.ko; done\n${SCRIPT}`,
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

  it('are found by the tables, in order, with what they can do', () => {
    const { console } = runs('look');
    expect(console).toMatch(/IO-APIC +5-edge +virtio0/);
    expect(console).toMatch(/IO-APIC +7-edge +virtio2/);
    expect(console).toContain(
      'guest: vda 16384 sectors ro=0 serial=disk-0 cache=write back segments=254 discard=1073741824 zeroes=33554432',
    );
    expect(console).toContain('guest: vdb 2048 sectors ro=1 serial=disk-1 cache=write through');
    expect(console).toContain('guest: vdc 81920 sectors ro=0 serial=disk-2');
  });

  it('give back what was written to them, and forget what was discarded', () => {
    const { console, report } = runs('look');
    expect(console).toContain('guest: read back what was written');
    expect(console).toContain('guest: discarded bytes are gone');
    expect(report).toMatchObject({ exit: 'POWER_OFF', status: 0 });
    const [raw, sealed] = report.devices;
    expect(raw?.writeBytes).toBeGreaterThanOrEqual(6 << 20);
    expect(raw?.flushes).toBeGreaterThan(0);
    expect(report.devices.map(({ errors }) => errors)).toEqual([0, 0, 0, 0]);
    expect(sealed?.writes).toBe(0);
    expect(console).toContain('guest: cannot write to the read-only disk');
  });

  it('come with random numbers', () => {
    const { console } = runs('look');
    expect(console).toContain('guest: random from virtio_rng');
    expect(console).toContain('guest: 4096 random bytes');
  });

  it('keep writes in an overlay of their own, over an orderly end and over a kill', () => {
    expect(runs('write').console).toContain('guest: found base and 0');
    expect(runs('other').console).toContain('guest: found base and 0');
    expect(runs('die').console).toContain('guest: it is all there');
    expect(runs('die').report.exit).toBe('KILLED');
    expect(runs('check').console).toContain('guest: it is all there, and synced');
    expect(host?.console).toContain('host: the base is as it was');
  });

  it('give the kernel no reason to complain', () => {
    for (const name of ['look', 'write', 'other', 'die', 'check']) {
      expect(runs(name).console).not.toContain('guest: kernel says');
    }
  });
});
