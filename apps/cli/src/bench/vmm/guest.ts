import { existsSync } from 'node:fs';
import { writeCpioArchive, type ArchiveEntry } from '#cpio';
import { busyboxFileSystem, findProgram, programFiles, writeExt4Image, type EmulatedHostTools } from '#emulated-host';
import { kernelModules } from '#kernel-package';
import { CliError } from '../../errors';
import { FIO_JOBS } from './io-jobs';

/** The guest's address on its tap, and the host's. */
export const GUEST_ADDRESS = '192.0.2.2';
export const HOST_ADDRESS = '192.0.2.1';

const MODULES = ['virtio_mmio', 'virtio_blk', 'virtio_net', 'ext4', 'button', 'pvpanic-mmio'];
/** So many round trips, one after the other. */
const PINGS = 1_000;

/** The programs that measure, with the Debian packages that bring them. */
export const MEASURING = { io: 'fio', net: 'iperf3' } as const;

/** Everything the guest boots from: the same for every VMM. It measures what its command line names, and powers off. */
export function writeGuest(target: string, tools: EmulatedHostTools): void {
  const modules = kernelModules(tools.kernel, MODULES);
  writeCpioArchive(target, [
    ...busyboxFileSystem(tools.busybox),
    ...modules.map(({ name, content }) => ({ path: `/modules/${name}.ko`, content })),
    { path: '/init', mode: 0o755, content: initOf(modules.map(({ name }) => name)) },
  ]);
}

/** A disk with the programs that measure: too large for an initial file system, and only read as far as it is used. */
export async function writeGuestTools(target: string, bench: keyof typeof MEASURING): Promise<void> {
  const name = MEASURING[bench];
  const program = findProgram(name);
  if (program === undefined) throw new CliError(`${name} is missing; install the Debian package ${name}`);
  const entries: ArchiveEntry[] = [
    ...['dev', 'proc', 'sys', 'tmp'].map((folder) => ({ path: `/${folder}`, folder: true as const })),
    ...programFiles(program),
    { path: '/bench.fio', content: FIO_JOBS },
    ...(existsSync('/etc/protocols') ? [{ path: '/etc/protocols', from: '/etc/protocols' }] : []),
    { path: '/program', content: program },
  ];
  await writeExt4Image(target, entries);
}

function initOf(modules: readonly string[]): string {
  return `#!/bin/busybox sh
export PATH=/bin:/sbin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in ${modules.join(' ')}; do insmod /modules/$module.ko; done
bench=$(grep -o 'bench=[a-z]*' /proc/cmdline | cut -d = -f 2)
seconds=$(grep -o 'seconds=[0-9]*' /proc/cmdline | cut -d = -f 2)
# Which disk is which, whatever their order: only one of them holds a file system.
mkdir /tools
for disk in vda vdb; do
  if mount -t ext4 -o ro /dev/$disk /tools 2>/dev/null; then tools=$disk; break; fi
done
for disk in vda vdb; do [ $disk = "$tools" ] || [ ! -b /dev/$disk ] || ln -s $disk /dev/measured; done
program=$(cat /tools/program)
for folder in dev proc sys; do mount --bind /$folder /tools/$folder; done
mount -t tmpfs tmpfs /tools/tmp
echo "guest: $(uname -r), $(nproc) processors, clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
result() {
  echo "result $1 begins"
  gzip -c | base64
  echo "result $1 ends"
}
case $bench in
  io)
    SECONDS_EACH=$seconds chroot /tools $program --output=/tmp/out --output-format=json /bench.fio
    result fio </tools/tmp/out
    ;;
  net)
    ip addr add ${GUEST_ADDRESS}/30 dev eth0
    ip link set eth0 up
    ping -c 3 -A ${HOST_ADDRESS} >/dev/null
    ping -c ${PINGS} -A ${HOST_ADDRESS} | sed -n 's/.*time=\\([0-9.]*\\) ms.*/\\1/p' >/tools/tmp/ping
    result ping </tools/tmp/ping
    iperf() {
      name=$1
      shift
      chroot /tools $program -c ${HOST_ADDRESS} -t $seconds -J "$@" >/tools/tmp/out 2>&1
      result $name </tools/tmp/out
    }
    iperf tcp-send
    iperf tcp-receive -R
    iperf udp-send -u -b 0 -l 1400
    iperf udp-receive -u -b 0 -l 1400 -R
    ;;
esac
poweroff -f
`;
}
