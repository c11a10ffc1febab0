import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';

/** One VMM process found on this machine. */
export interface FoundVmm {
  pid: number;
  /** Field 22 of its stat: with the pid, names the process for good. */
  startTicks: string;
  microvmId: string;
  /** Of the incarnation, by the name of the folder that its page file lies in. */
  epoch: number;
  /** The user it runs as; each slot of a host has one of its own. */
  uid: number;
  /** The run folder that it was found under. */
  runDirectory: string;
}

/**
 * Finds VMM processes by looking at the machine alone: every process whose first argument ends in `volley-vmm` and that has a page
 * file below one of the given run folders mapped. The second argument is the microVM's id.
 */
export function scanVmms(...runDirectories: string[]): FoundVmm[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => vmmOf(Number(pid), runDirectories) ?? []);
}

function vmmOf(pid: number, runDirectories: readonly string[]): FoundVmm | undefined {
  const [program, microvmId] = (read(pid, 'cmdline') ?? '').split('\0');
  if (!program?.endsWith('volley-vmm') || !microvmId) return undefined;
  const startTicks = aliveSince(pid);
  const page = pageFileOf(pid, microvmId);
  const runDirectory = runDirectories.find((directory) => page?.startsWith(`${directory}/`));
  if (startTicks === undefined || page === undefined || runDirectory === undefined) return undefined;
  const epoch = Number(basename(dirname(page)).slice(microvmId.length + 1));
  const uid = Number(/^Uid:\s+(\d+)/m.exec(read(pid, 'status') ?? '')?.[1]);
  return { pid, startTicks, microvmId, epoch, uid, runDirectory };
}

/** Whether exactly this process still runs. */
export function stillRuns({ pid, startTicks }: Pick<FoundVmm, 'pid' | 'startTicks'>): boolean {
  return aliveSince(pid) === startTicks;
}

/** Undefined for a process that is gone, or has ended and was not waited for. */
function aliveSince(pid: number): string | undefined {
  const stat = read(pid, 'stat');
  if (stat === undefined) return undefined;
  const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return state === 'Z' || state === 'X' ? undefined : fields[18];
}

/** A VMM keeps no descriptor of its page file: it has it mapped. */
function pageFileOf(pid: number, microvmId: string): string | undefined {
  for (const line of (read(pid, 'maps') ?? '').split('\n')) {
    const path = line.slice(line.indexOf('/')).replace(/ \(deleted\)$/, '');
    if (basename(path) === 'pages' && basename(dirname(path)).startsWith(`${microvmId}-`)) return path;
  }
  return undefined;
}

function read(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return undefined; // gone meanwhile
  }
}
