import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** A host agent, and where it keeps what. */
export interface HostPlace {
  hostId: string;
  /** Its journal and disks. */
  hostDir: string;
  /** Pages and sockets of its VMMs. */
  runDir: string;
}

export interface SlotProcess {
  slot: number;
  pid: number;
  parent: number;
  /** A VMM without a microVM, kept ready by its agent. */
  isShell: boolean;
}

/** What a host holds besides VMM processes, found by looking at the machine. */
export interface Belongings {
  /** Processes in the cgroups of its slots. */
  inSlots: SlotProcess[];
  /** Names of run folders: `<microVM>-<epoch>`. */
  runFolders: string[];
  /** microVMs that have a folder of disks. */
  disks: string[];
  /** Taps in its network namespace. */
  taps: number[];
  /** How many processes hold the lock on its folder. */
  locks: number;
}

/** By this an agent's things in the kernel are named. */
export function digestOf(hostDir: string): string {
  return createHash('sha256').update(realpathSync(hostDir)).digest('hex').slice(0, 12);
}

export function scanBelongings({ hostDir, runDir }: HostPlace): Belongings {
  const name = `volley-${digestOf(hostDir)}`;
  return {
    inSlots: inSlots(name),
    runFolders: list(join(runDir, name)).filter((folder) => /^[0-9a-z]{26}-\d+$/.test(folder)),
    disks: list(join(hostDir, 'disks/microvms')),
    taps: taps(name),
    locks: locks(`volley-hostd-${digestOf(hostDir)}`),
  };
}

/** The same process is in several hierarchies of cgroups; it is told once. */
function inSlots(name: string): SlotProcess[] {
  const files = execFileSync('find', ['/sys/fs/cgroup', '-path', `*/${name}/s*/cgroup.procs`], {
    encoding: 'utf8',
    timeout: 10_000,
  });
  const found = new Map<number, SlotProcess>();
  for (const file of files.split('\n').filter((line) => line !== '')) {
    const slot = Number(basename(dirname(file)).slice(1));
    for (const pid of text(file)
      .split('\n')
      .filter((line) => line !== '')
      .map(Number)) {
      const [program, role] = text(`/proc/${pid}/cmdline`).split('\0');
      if (program === undefined || program === '') continue; // gone, or ending
      const stat = text(`/proc/${pid}/stat`);
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      found.set(pid, { slot, pid, parent, isShell: program === 'volley-vmm' && role!.trimEnd() === 'shell' });
    }
  }
  return [...found.values()];
}

/** Listening sockets of that abstract name, which is filled up with NUL bytes. */
function locks(name: string): number {
  const listening = /^\S+ \S+ \S+ 00010000 .* @(\S+?)@*$/gm;
  return [...text('/proc/net/unix').matchAll(listening)].filter(([, found]) => found === name).length;
}

function taps(namespace: string): number[] {
  if (!list('/run/netns').includes(namespace)) return [];
  const links = execFileSync('ip', ['-n', namespace, '-o', 'link', 'show'], { encoding: 'utf8', timeout: 10_000 });
  return [...links.matchAll(/: vt(\d+)[:@]/g)].map(([, slot]) => Number(slot));
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return []; // not made yet
  }
}

function text(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return ''; // gone meanwhile
  }
}
