import type { ArchiveEntry } from './cpio-archive';
import type { EmulatedHostTools } from './emulated-host.requirements';
import { busyboxFileSystem } from './host-file-system';
import { kernelModules } from './kernel-modules';

/** What the guest does once it is in user space; given to it on its command line as `volley.end=`. */
export type GuestEnd = 'poweroff' | 'reboot' | 'panic' | 'power-button';

/** Drivers that the distribution's kernel has as modules: the panic port, the power button and reading its key. */
const MODULES = ['pvpanic-mmio', 'button', 'evdev'];

/**
 * The initial ram file system of a stock Linux microVM: busybox, and an init that says what it finds, announces itself
 * through the boot timer, and ends the way its command line asks for.
 */
export function stockGuestFileSystem(tools: EmulatedHostTools): ArchiveEntry[] {
  const modules = kernelModules(tools.kernel, MODULES);
  return [
    ...busyboxFileSystem(tools.busybox),
    ...modules.map(({ name, content }) => ({ path: `/modules/${name}.ko`, content })),
    { path: '/init', mode: 0o755, content: initOf(modules.map(({ name }) => name)) },
  ];
}

/** The command line of a stock guest that ends in the given way. */
export function stockGuestCommandLine(end: GuestEnd): string {
  // A stock kernel resets by itself one second after a panic when told `panic=1`.
  return `console=ttyS0 quiet panic=1 mitigations=off volley.end=${end}`;
}

function initOf(modules: readonly string[]): string {
  return `#!/bin/busybox sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
/bin/busybox mkdir -p /sbin /usr/bin /usr/sbin
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in ${modules.join(' ')}; do
  insmod /modules/$module.ko
done
# Writing 123 to the boot timer's page says "booted" to the VMM.
devmem 0xC0000000 8 123
echo "guest: user space of $(uname -r) with $(nproc) processors and $(sed -n 's/MemTotal: *//p' /proc/meminfo)"
echo "guest: clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
case $(grep -o 'volley.end=[a-z-]*' /proc/cmdline) in
  volley.end=poweroff) poweroff -f ;;
  volley.end=reboot) reboot -f ;;
  volley.end=panic) echo c > /proc/sysrq-trigger ;;
  volley.end=power-button)
    echo "guest: waiting for the power button"
    # One event is 24 bytes long; the only input device is the button.
    head -c 24 /dev/input/event0 > /dev/null
    echo "guest: the power button was pressed"
    poweroff -f ;;
esac
echo "guest: still here"
sleep 1000
`;
}
