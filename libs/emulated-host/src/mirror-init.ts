import { NETWORK } from './host-file-system';
import { initStart } from './init-start';
import type { EmulatedShare } from './qemu-arguments';
import { quoted } from './shell-environment';
import { ANY_TSC_RATE } from './tsc-rate';

/** What is printed before the command runs; all that follows is the command's. */
export const MIRROR_READY = /^volley-host: the mirror stands\r?\n/m;

/**
 * The first process of a host with the files of another machine: loads what is needed, makes those files writable for as long as the host
 * lives, runs `/command` among them and ends the host.
 *
 * @param tag of the share that is the other machine's root folder
 * @param writable what is written there: mounted at the same paths
 */
export function mirrorInit(modules: readonly string[], tag: string, writable: readonly EmulatedShare[]): string {
  const mounts = writable.map(
    (share) => `mkdir -p ${quoted(`.${share.path}`)}
mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize=512000 ${share.tag} ${quoted(`.${share.path}`)} || fail "no folder "${quoted(share.path)}
`,
  );
  return `${initStart(modules)}${ANY_TSC_RATE}
mkdir -p /files /changes /whole
# Nobody but this host's own overlay changes what it sees, so everything may be kept that was read once.
mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000 ${tag} /files || fail "no files"
mount -t tmpfs -o mode=755,size=75% tmpfs /changes
mkdir /changes/upper /changes/work
mount -t overlay -o lowerdir=/files,upperdir=/changes/upper,workdir=/changes/work overlay /whole || fail "no overlay"
for folder in proc sys dev; do
  mkdir -p /whole/$folder
  mount --move /$folder /whole/$folder
done
cd /whole
mkdir -p dev/pts dev/shm tmp run
mount -t devpts devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount -t cgroup2 cgroup2 sys/fs/cgroup
${mounts.join('')}ip link set lo up
${NETWORK}hostname volley-mirror
cp /command run/volley-command
stty -F dev/console -echo -onlcr
echo "volley-host: the mirror stands"
# Behind a pipe, so that nothing takes it for a terminal.
{
  chroot . /bin/sh /run/volley-command <dev/null 2>&1
  echo $? >/status
} | cat >dev/console
echo
echo "volley-host: script ended with status $(cat /status)"
sync
poweroff -f
`;
}
