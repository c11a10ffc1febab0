import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename, join } from 'node:path';

const CGROUPS = '/sys/fs/cgroup';
const CGROUP_DEPTH = 5;
const VMM = /^volley-vmm/;
const NSENTER_MS = 10_000;

/** What microVMs of one host agent hold on this machine, found by looking at the machine alone. */
export interface HostThings {
  /** VMM processes, shells that wait for a microVM included. */
  vmms: number;
  /** Of these, those that run a guest: with a statistics page below the agent's run folder. */
  guests: number;
  /** cgroups of slots in which a process lives. */
  cgroupsInUse: number;
  /** cgroups of slots, in use or kept for the next microVM. */
  cgroups: number;
  runFolders: number;
  taps: number;
  disks: number;
}

/** Where a host agent keeps what is its own. */
export interface AgentPlaces {
  hostDir: string;
  runDir: string;
  /** Process id of the agent, in whose mount namespace its network namespace is found; undefined when it has ended. */
  pid?: number | undefined;
}

export function thingsOf({ hostDir, runDir, pid }: AgentPlaces): HostThings {
  // As the agent names itself in the kernel: see digestOf in hostd.
  const name = `volley-${createHash('sha256').update(hostDir).digest('hex').slice(0, 12)}`;
  const groups = cgroupsOf(name);
  const vmms = [...new Set(groups.flatMap((group) => processesIn(group)))].filter(isVmm);
  return {
    vmms: vmms.length,
    guests: vmms.filter((one) => textOf(`/proc/${one}/maps`).includes(`${runDir}/`)).length,
    cgroupsInUse: groups.filter((group) => processesIn(group).length > 0).length,
    cgroups: groups.length,
    runFolders: namesIn(join(runDir, name)).filter((one) => /-\d+$/.test(one)).length,
    taps: pid === undefined ? 0 : tapsIn(pid, name),
    disks: namesIn(join(hostDir, 'disks', 'microvms')).length,
  };
}

/** What is more than before, by name. Nothing: all that was taken has been given back. */
export function leftovers(before: HostThings, after: HostThings, kept: readonly (keyof HostThings)[] = []): string[] {
  return (Object.keys(after) as (keyof HostThings)[])
    .filter((thing) => !kept.includes(thing) && after[thing] > before[thing])
    .map((thing) => `${after[thing] - before[thing]} ${thing}`);
}

function cgroupsOf(name: string): string[] {
  const found: string[] = [];
  const own = `/${name}`;
  const visit = (path: string, depth: number): void => {
    for (const entry of namesIn(path, true)) {
      const child = join(path, entry);
      if (path.endsWith(own)) found.push(child);
      else if (depth > 0) visit(child, depth - 1);
    }
  };
  visit(CGROUPS, CGROUP_DEPTH);
  return found;
}

function processesIn(group: string): number[] {
  return textOf(join(group, 'cgroup.procs'))
    .split('\n')
    .filter((line) => line !== '')
    .map(Number);
}

function isVmm(pid: number): boolean {
  try {
    return VMM.test(basename(readlinkSync(`/proc/${pid}/exe`)));
  } catch {
    return false;
  }
}

/** Links of the agent's network namespace, whose name is known in the agent's own mount namespace. */
function tapsIn(pid: number, name: string): number {
  const namespace = `/proc/${pid}/root/run/netns/${name}`;
  if (!existsSync(namespace)) return 0;
  const links = execFileSync('nsenter', [`--net=${namespace}`, 'cat', '/proc/net/dev'], {
    encoding: 'latin1',
    timeout: NSENTER_MS,
  });
  return links.match(/^ *vt\d+:/gm)?.length ?? 0;
}

function namesIn(path: string, folders = false): string[] {
  try {
    const entries = readdirSync(path, { withFileTypes: true });
    return entries.filter((entry) => !folders || entry.isDirectory()).map((entry) => entry.name);
  } catch {
    return [];
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
