import { DEFAULT_OVERCOMMIT } from '../supervisor/volley-processes';
import { numberIn, ok, warn, type Check, type Finding } from './finding';
import type { HostView } from './host-view';

/** What a host is looked at for: the public record of one. */
const MICROVMS = 4_000;
/** What an idle microVM takes of each limit, counted on a running host (docs/operate.md says how). */
const EACH = {
  /** Of its VMM: the main thread, one for devices and one for each vCPU. Each is a pid. */
  threads: 3,
  /** Descriptors that the agent holds: process, control socket, statistics page. */
  agentFiles: 3,
  /** Mappings of the agent: the statistics page. */
  agentMaps: 1,
  /** Connections through the host's address translation, for those with a network. */
  connections: 64,
} as const;
/** What everything else on the host is given of each. */
const OTHERS = { threads: 4_096, files: 1_024, maps: 2_048 } as const;
/** The smallest useful microVM, and the reserve that an agent keeps: a twentieth, at least 256 MiB. */
const SMALLEST_MIB = 16;
const reserveOf = (memoryMiB: number): number => Math.max(256, memoryMiB / 20);

/** A limit of the kernel or of this session, how many microVMs it lets live, and how to raise it. */
function bound(
  check: string,
  value: number | undefined,
  { each, what, others }: { each: number; what: string; others: number },
  raise: string,
): Finding | undefined {
  if (value === undefined) return undefined;
  const most = Math.max(0, Math.floor((value - others) / each));
  const wanted = MICROVMS * each + others;
  if (most >= MICROVMS) return ok(check, value === Infinity ? 'unlimited' : `${value}, enough for ${most} microVMs`);
  return warn(
    check,
    `${value}, enough for ${most} microVMs`,
    `each takes ${each} ${what}, so ${MICROVMS} want ${wanted}: ${raise}`,
  );
}

function hardLimit(host: HostView, name: string): number | undefined {
  const line = (host.read('/proc/self/limits') ?? '').split('\n').find((one) => one.startsWith(name));
  const hard = line?.slice(name.length).trim().split(/\s+/)[1];
  if (hard === undefined) return undefined;
  return hard === 'unlimited' ? Infinity : Number(hard);
}

const threads = { each: EACH.threads, what: 'threads', others: OTHERS.threads };

const openFiles: Check = (host) =>
  bound(
    'open files',
    hardLimit(host, 'Max open files'),
    { each: EACH.agentFiles, what: 'descriptors of the agent', others: OTHERS.files },
    'raise nofile in /etc/security/limits.conf, or LimitNOFILE= of the unit',
  );
// The limit is one of a user, and each slot has a user of its own: only what the agent's own user runs counts.
const processes: Check = (host) =>
  bound(
    'processes',
    hardLimit(host, 'Max processes'),
    threads,
    'raise nproc in /etc/security/limits.conf, or LimitNPROC= of the unit',
  );
const pidMax: Check = (host) =>
  bound('pid_max', numberIn(host, '/proc/sys/kernel/pid_max'), threads, 'sysctl kernel.pid_max=4194304');
const threadsMax: Check = (host) =>
  bound('threads-max', numberIn(host, '/proc/sys/kernel/threads-max'), threads, 'sysctl kernel.threads-max=262144');

const pidsOfCgroup: Check = (host) => {
  const least = pidsMax(host);
  return (
    least && bound('pids cgroup', least.max, threads, `echo max > ${least.path}, or TasksMax=infinity of the unit`)
  );
};

/** The smallest limit on the way from this session's cgroup to the root, of either version. */
function pidsMax(host: HostView): { max: number; path: string } | undefined {
  const lines = (host.read('/proc/self/cgroup') ?? '').split('\n');
  const found = lines.flatMap((line) => {
    const [, controllers, folder] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const isOurs = controllers === '' || controllers?.split(',').includes('pids');
    if (!isOurs || folder === undefined) return [];
    const root = controllers === '' ? '/sys/fs/cgroup' : '/sys/fs/cgroup/pids';
    const steps = folder.split('/').filter(Boolean);
    return [...steps, ''].map((_, depth) => [root, ...steps.slice(0, steps.length - depth), 'pids.max'].join('/'));
  });
  const limits = found.flatMap((path) => {
    const text = host.read(path)?.trim();
    return text === undefined ? [] : [{ path, max: text === 'max' ? Infinity : Number(text) }];
  });
  return limits.sort((a, b) => a.max - b.max)[0];
}

const maxMapCount: Check = (host) =>
  bound(
    'max_map_count',
    numberIn(host, '/proc/sys/vm/max_map_count'),
    { each: EACH.agentMaps, what: 'mappings of the agent', others: OTHERS.maps },
    'sysctl vm.max_map_count=262144',
  );

const conntrack: Check = (host) =>
  bound(
    'conntrack',
    numberIn(host, '/proc/sys/net/netfilter/nf_conntrack_max'),
    { each: EACH.connections, what: 'connections, if it has a network', others: 0 },
    'sysctl net.netfilter.nf_conntrack_max=524288',
  );

const reservedHugePages: Check = (host) => {
  const meminfo = host.read('/proc/meminfo') ?? '';
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(meminfo)?.[1] ?? 0);
  const mib = (field('HugePages_Total') * field('Hugepagesize')) / 1_024;
  if (mib === 0) return undefined;
  return warn(
    'reserved huge pages',
    `${mib} MiB`,
    'guests do not use them, and they are lost to all others: sysctl vm.nr_hugepages=0',
  );
};

/** What `volley up` promises unless it is told otherwise, in the smallest microVMs. */
const promise: Check = (host) => {
  const memoryMiB = Number(/^MemTotal:\s+(\d+) kB/m.exec(host.read('/proc/meminfo') ?? '')?.[1] ?? 0) / 1_024;
  const usable = memoryMiB - reserveOf(memoryMiB);
  if (usable <= 0) return undefined;
  const { memory } = DEFAULT_OVERCOMMIT;
  const most = Math.floor((usable * memory) / SMALLEST_MIB);
  const found = `${memory} x ${Math.round(usable)} MiB by default, enough for ${most} microVMs of ${SMALLEST_MIB} MiB`;
  if (most >= MICROVMS) return ok('memory promise', found);
  const wanted = Math.ceil(((MICROVMS * SMALLEST_MIB) / usable) * 10) / 10;
  return warn(
    'memory promise',
    found,
    `${MICROVMS} are promised ${MICROVMS * SMALLEST_MIB} MiB: volley up --overcommit-memory ${wanted} or more, or a host class`,
  );
};

/** What bounds the number of microVMs on a host. */
export const DENSITY_LIMITS: readonly Check[] = [
  openFiles,
  processes,
  pidMax,
  threadsMax,
  pidsOfCgroup,
  maxMapCount,
  conntrack,
  reservedHugePages,
  promise,
];
