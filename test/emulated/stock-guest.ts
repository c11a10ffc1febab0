import type { ArchiveEntry } from '#cpio';
import { busyboxFileSystem, type EmulatedHostTools } from '#emulated-host';
import { kernelModules } from '#kernel-package';

/** What the guest does once it is in user space. `panic-silent` panics without the driver of the panic port; `clone` waits until it is one. */
export type GuestEnd = 'poweroff' | 'reboot' | 'panic' | 'panic-silent' | 'power-button' | 'clone';

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

/**
 * The command line of a stock guest that ends in the given way. It tells the kernel nothing about how to power off or
 * reset: that has to come from the machine itself. `panic=1` asks for a reset one second after a panic.
 */
export function stockGuestCommandLine(end: GuestEnd): string {
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
end=$(grep -o 'volley.end=[a-z-]*' /proc/cmdline | cut -d = -f 2)
for module in ${modules.join(' ')}; do
  # A template is of another kernel than the modules.
  [ $end = panic-silent ] || [ $end = clone ] || insmod /modules/$module.ko
done
# Writing 123 to the boot timer's page says "booted" to the VMM.
devmem 0xC0000000 8 123
echo "guest: kernel $(uname -r)"
echo "guest: $(nproc) processors"
echo "guest: $(sed -n 's/MemTotal: *//p' /proc/meminfo) of memory"
echo "guest: clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
case $end in
  poweroff) poweroff -f ;;
  reboot) reboot -f ;;
  panic*) echo c > /proc/sysrq-trigger ;;
  clone)
    echo "guest: waiting to be cloned"
    until dmesg | grep -q 'virtual machine fork'; do sleep 0.1; done
    devmem 0xC0000000 8 123
    echo "guest: $(dmesg | grep -o 'crng reseeded due to virtual machine fork')"
    before=$(cut -d ' ' -f 1 /proc/uptime); sleep 1; echo "guest: uptime $before then $(cut -d ' ' -f 1 /proc/uptime)"
    ran=0; for cpu in 0 1; do taskset -c $cpu true && ran=$((ran + 1)); done; echo "guest: $ran processors ran"
    poweroff -f ;;
  power-button)
    # Beside the keyboard. Opened before it is announced: events before that are lost.
    exec 3< /dev/input/$(grep -A 5 'Power Button' /proc/bus/input/devices | grep -o -m 1 'event[0-9]*')
    echo "guest: waiting for the power button"
    head -c 24 <&3 > /dev/null  # one event
    echo "guest: the power button was pressed"
    poweroff -f ;;
esac
echo "guest: still here"
sleep 1000
`;
}
