import { INSTALLED_AT } from './agent-files';
import { initStart } from './init-start';
import { THIS_MACHINE } from './qemu-arguments';
import { ANY_TSC_RATE } from './tsc-rate';

/** What the second stage prints; whoever started the host waits for it. */
export const AGENT_STARTED = /^volley-host: the agent starts\r?$/m;

/** Typed on the console of the host, it ends the agent, then the host. */
export const SHUTDOWN = 'shutdown';

/** Typed with the seconds since 1970, at the turn of the second: the host sets its clock by it, when it is wrong. */
export const CLOCK = 'clock';

/** What the second stage prints when it waits for that. */
export const CLOCK_WANTED = /^volley-host: what time is it\?\r?$/m;

/** The first process: loads what is needed to mount the root file system, makes everything in it writable for as long as the host lives, and goes there. */
export function firstStage(modules: readonly string[]): string {
  return `${initStart(modules)}tries=0
until [ -b /dev/vdb ]; do
  tries=$((tries + 1))
  [ $tries -lt 100 ] || fail "the disks do not appear"
  sleep 0.1
done
mkdir -p /system /changes /whole
mount -t ext4 -o ro /dev/vda /system || fail "the system disk cannot be mounted"
mount -t tmpfs -o mode=755 tmpfs /changes
mkdir /changes/upper /changes/work
mount -t overlay -o lowerdir=/system,upperdir=/changes/upper,workdir=/changes/work overlay /whole || fail "no overlay"
cp -a /volley /whole/etc/volley
for folder in dev proc sys; do mount --move /$folder /whole/$folder; done
exec switch_root /whole /sbin/volley-host
fail "the system cannot be entered"
`;
}

/**
 * The second stage, from the system disk: devices, network, data disk, and the agent, started again when it ends.
 * The second serial port is a shell without a prompt, for tests and for looking around.
 */
export const SECOND_STAGE = `#!/bin/sh
export PATH=/usr/sbin:/usr/bin HOME=/root
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
. /etc/volley/host.env
hostname "$VOLLEY_HOST_ID"
ip link set lo up
modprobe virtio_net
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via ${THIS_MACHINE}
modprobe kvm_amd || echo "volley-host: no KVM"
${ANY_TSC_RATE}
# Loaded by the kernel when first asked for, in the middle of a request with a deadline; so better now.
modprobe -a tun veth nf_tables nft_chain_nat nft_nat nft_masq nft_ct nft_limit nft_objref nft_reject_inet 2>/dev/null
# What lies behind ${THIS_MACHINE} is this machine's own: for the agent, not for guests. Names may be asked for.
if [ -x /usr/sbin/nft ]; then
  nft 'add table inet volley_emulated; add chain inet volley_emulated forward { type filter hook forward priority -10; };
    add rule inet volley_emulated forward ip daddr 10.0.2.0/24 ip daddr != 10.0.2.3 drop' || echo "volley-host: no nft"
fi
if ! mount -t ext4 -o noatime,discard /dev/vdb /var/lib/volley; then
  echo "volley-host: the data disk cannot be mounted"
  sleep 1
  poweroff -f
fi
[ ! -c /dev/ttyS1 ] || (
  exec </dev/ttyS1 2>&1
  stty raw -echo
  # Behind a pipe it takes itself for a script: no prompt, no echo.
  while :; do setsid sh -s 2>&1 | cat >/dev/ttyS1; sleep 0.1; done
) &
stty -F /dev/ttyS0 -echo
while read -r word value; do
  case $word in
    ${SHUTDOWN})
      touch /run/stopping
      kill -TERM "$(cat /run/agent.pid)"
      ;;
    ${CLOCK})
      off=$(($(date +%s) - value))
      [ -e /run/clock-set ] && [ $off -ge -2 ] && [ $off -le 2 ] && continue
      date -u -s @$value >/dev/null
      touch /run/clock-set
      [ $off = 0 ] || echo "volley-host: the clock was off by $off s"
      ;;
  esac
done </dev/ttyS0 &
echo "volley-host: what time is it?"
tries=0
until [ -e /run/clock-set ] || [ $tries -ge 50 ]; do
  tries=$((tries + 1))
  sleep 0.1
done
pause=1
while [ ! -e /run/stopping ]; do
  echo "volley-host: the agent starts"
  node ${INSTALLED_AT}/dist/apps/hostd/src/main.js </dev/null &
  agent=$!
  echo $agent >/run/agent.pid
  # Everything else in here may wait; the agent's heartbeats may not.
  renice -n -10 -p $agent >/dev/null
  wait $agent
  echo "volley-host: the agent ended with status $?"
  [ -e /run/stopping ] || sleep $pause
  [ $pause -ge 10 ] || pause=$((pause * 2))
done
killall -9 volley-vmm 2>/dev/null
sync
cd / && umount /var/lib/volley || mount -o remount,ro /var/lib/volley
echo "volley-host: good night"
poweroff -f
`;
