import type { ArchiveEntry } from '#cpio';
import { kernelModules } from '#kernel-package';
import type { EmulatedHostOptions } from './emulated-host.options';
import type { EmulatedHostTools } from './emulated-host.requirements';
import { THIS_MACHINE } from './qemu-arguments';
import { ANY_TSC_RATE } from './tsc-rate';

/** The root file system of an emulated host: busybox, the modules to load, the caller's files and an init. */
export function hostFileSystem(tools: EmulatedHostTools, options: EmulatedHostOptions): ArchiveEntry[] {
  const network = options.network === true;
  const modules = kernelModules(tools.kernel, [
    'kvm-amd',
    ...(network ? ['virtio_pci', 'virtio_net'] : []),
    ...(options.disks?.length ? ['virtio_pci', 'virtio_blk'] : []),
    ...(options.modules ?? []),
  ]);
  return [
    ...busyboxFileSystem(tools.busybox),
    ...modules.map(({ name, content }) => ({ path: `/modules/${name}.ko`, content })),
    ...(options.files ?? []),
    { path: '/script', mode: 0o755, content: options.script },
    {
      path: '/init',
      mode: 0o755,
      content: initOf(
        modules.map(({ name }) => name),
        network,
      ),
    },
  ];
}

/** The smallest file system in which a shell script works: busybox, a console and the folders to mount on. */
export function busyboxFileSystem(busybox: string): ArchiveEntry[] {
  return [
    { path: '/dev', folder: true },
    { path: '/proc', folder: true },
    { path: '/sys', folder: true },
    { path: '/tmp', folder: true },
    // The kernel opens it for the first process before anything is mounted.
    { path: '/dev/console', characterDevice: { major: 5, minor: 1 } },
    { path: '/bin/busybox', mode: 0o755, from: busybox },
    { path: '/bin/sh', linkTo: 'busybox' },
  ];
}

/** The addresses that QEMU's user network always gives. */
export const NETWORK = `ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via ${THIS_MACHINE}
`;

function initOf(modules: readonly string[], network: boolean): string {
  return `#!/bin/sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/
/bin/busybox mkdir -p /sbin /usr/bin /usr/sbin
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
status=0
for module in ${modules.join(' ')}; do
  insmod /modules/$module.ko || status=$?
done
${ANY_TSC_RATE}
${network ? NETWORK : ''}if [ $status = 0 ]; then
  echo "volley-host: kvm is ready"
  sh /script
  status=$?
fi
echo "volley-host: script ended with status $status"
poweroff -f
`;
}
