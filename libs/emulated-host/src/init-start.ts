/** How the first process of a host begins: all of busybox, `fail SENTENCE`, what the kernel shows, and the modules in `/modules`. */
export function initStart(modules: readonly string[]): string {
  return `#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
fail() {
  echo "volley-host: $*"
  sleep 1
  poweroff -f
}
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in ${modules.join(' ')}; do
  insmod /modules/$module.ko || fail "the module $module cannot be loaded"
done
`;
}
