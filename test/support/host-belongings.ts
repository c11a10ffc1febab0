import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import type { Fleet } from './fleet';

/** Everything that a fleet's host and imports hold, found by looking at the machine; after a failure it is as it was before. */
export interface Belongings {
  vmms: string[];
  /** Slots whose cgroups hold a process. */
  cgroups: string[];
  taps: string[];
  mounts: string[];
  namespaces: string[];
  runFolders: string[];
  /** Names by which guests are reached by vsock. */
  guestSockets: string[];
  disks: string[];
  /** Files that are being written: of images on the host, and of imports. */
  drafts: string[];
  /** microVMs in the host's journal. */
  journal: string[];
  /** Chunks in the image store. */
  chunks: number;
  /** Slots in use, vCPUs and MiB promised, as the host reports them. */
  promised: string;
}

const list = (folder: string): string[] => {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
};
const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');

export async function belongingsOf(fleet: Fleet): Promise<Belongings> {
  const hostd = await fleet.pidOf('volley-hostd');
  const host = join(fleet.data, 'host');
  const name = createHash('sha256').update(realpathSync(host)).digest('hex').slice(0, 12);
  const { runDir } = JSON.parse(readFileSync(join(fleet.data, 'settings.json'), 'utf8')) as { runDir: string };
  // Mounts and names of namespaces are those of the agent's own mount namespace.
  const inside = (...words: string[]): string =>
    execFileSync('nsenter', [`--mount=/proc/${hostd}/ns/mnt`, ...words], { encoding: 'utf8', timeout: 60_000 });
  const work = join(fleet.data, 'images/work');
  const nats = await fleet.nats();
  const chunks = await jetstreamManager(nats)
    .then((jsm) => jsm.streams.info('OBJ_blobs', { subjects_filter: '$O.blobs.C.>' }))
    .then(({ state: { subjects } }) => Object.values(subjects ?? {}).reduce((sum, count) => sum + count, 0))
    .finally(() => nats.close());
  const { body } = await fleet.rest<{ hosts: { slots: object; commitment: object }[] }>('GET', '/v1/density');
  return {
    vmms: fleet.vmms().map(({ microvmId }) => microvmId),
    cgroups: lines(
      execFileSync('find', ['/sys/fs/cgroup', '-path', `*volley-${name}/s*/cgroup.procs`], { encoding: 'utf8' }),
    ).filter((path) => readFileSync(path, 'utf8') !== ''),
    taps: lines(inside('sh', '-c', `/usr/sbin/ip -n volley-${name} -o link show`))
      .flatMap((line) => /vt\d+/.exec(line) ?? [])
      .sort(),
    mounts: lines(inside('cat', '/proc/self/mounts')).filter(
      (line) => line.includes(fleet.data) || line.includes(runDir),
    ),
    namespaces: lines(inside('ls', '/run/netns')).filter((one) => one === `volley-${name}`),
    runFolders: list(join(runDir, `volley-${name}`)).filter((one) => /-\d+$/.test(one)),
    guestSockets: list(join(runDir, `volley-${name}`, 'vsock')),
    disks: list(join(host, 'disks/microvms')),
    drafts: [...list(join(host, 'images/drafts')), ...list(work).flatMap((one) => list(join(work, one)))],
    journal: microvmsIn(readFileSync(join(host, 'journal'), 'latin1')),
    chunks,
    promised: JSON.stringify(body.hosts.map(({ slots, commitment }) => ({ slots, commitment }))),
  };
}

/** microVMs that the host's journal holds, by its records: JSON between the heads of its frames. */
function microvmsIn(journal: string): string[] {
  const held = new Set<string>();
  for (const [, type, id] of journal.matchAll(/"change":\{"type":"(admitted|gone)","microvmId":"(\w+)"/g)) {
    if (type === 'admitted') held.add(id!);
    else held.delete(id!);
  }
  return [...held].sort();
}
