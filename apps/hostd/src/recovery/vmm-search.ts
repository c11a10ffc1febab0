import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parseProcessStat } from '#density';
import type { MicrovmDriver, VmmIdentity } from '#microvm';
import { VMM_ARGV0, claimedPidOffset } from './vmm-abi';

/**
 * Looks for the VMM of an incarnation that was granted but whose process was not written down: the agent ended in between.
 * Undefined: none was ever launched. An identity may name a process that has ended meanwhile; adopting it tells how.
 */
export async function unrecordedIdentity(
  driver: Pick<MicrovmDriver, 'find'>,
  microvmId: string,
  directory: string,
): Promise<VmmIdentity | undefined> {
  const pid = claimedPid(directory);
  if (pid === undefined) return undefined;
  for (const until = performance.now() + SETTLE_MS; ;) {
    const running = await driver.find(microvmId, directory);
    if (running) return running;
    // Between clone and exec it still looks like the agent that launched it: for a moment, or as long as a busy machine keeps it waiting.
    if (startOf(pid) === undefined || performance.now() > until) break;
    await new Promise((resolve) => setTimeout(resolve, SETTLE_STEP_MS));
  }
  return { pid, startTicks: NO_START, bootId: bootId(), directory };
}

/** Start time of no process: it ran, and is gone. */
const NO_START = '0';
/** By then it is some other process that was given the same pid. */
const SETTLE_MS = 10_000;
const SETTLE_STEP_MS = 50;

export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

/** The process that the page file in this folder was handed to, as it says itself; undefined when there never was one. */
function claimedPid(directory: string): number | undefined {
  let fd: number;
  try {
    fd = openSync(join(directory, 'pages'), 'r');
  } catch {
    return undefined;
  }
  try {
    const bytes = Buffer.alloc(4);
    const pid = readSync(fd, bytes, 0, 4, claimedPidOffset) === 4 ? bytes.readUInt32LE(0) : 0;
    return pid === 0 ? undefined : pid;
  } finally {
    closeSync(fd);
  }
}

/** A VMM process found by a scan. */
export interface FoundVmm {
  pid: number;
  startTicks: string;
  microvmId: string;
  /** Folder of its page file. */
  directory: string;
}

/**
 * All VMMs whose page file lies in a folder under `root`: proof that an agent with this run folder launched them. Needs the right
 * to look at other processes' memory maps (root, or CAP_SYS_PTRACE); without it the list is short.
 */
export function vmmsUnder(root: string): FoundVmm[] {
  const found: FoundVmm[] = [];
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const [argv0, microvmId] = argumentsOf(pid);
    if (argv0 !== VMM_ARGV0 || !microvmId) continue;
    const directory = pageFolderOf(pid, microvmId);
    const startTicks = startOf(pid);
    if (directory && dirname(directory) === root && startTicks) found.push({ pid, startTicks, microvmId, directory });
  }
  return found;
}

/** Folder of the page file that a process has mapped. A VMM keeps no descriptor of it. */
function pageFolderOf(pid: number, microvmId: string): string | undefined {
  let maps: string;
  try {
    maps = readFileSync(`/proc/${pid}/maps`, 'utf8');
  } catch {
    return undefined;
  }
  for (const line of maps.split('\n')) {
    const path = line.slice(line.indexOf('/')).replace(/ \(deleted\)$/, '');
    const directory = dirname(path);
    if (basename(path) === 'pages' && basename(directory).startsWith(`${microvmId}-`)) return directory;
  }
  return undefined;
}

function startOf(pid: number): string | undefined {
  try {
    const stat = parseProcessStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
    return stat && stat.state !== 'Z' && stat.state !== 'X' ? stat.startTicks : undefined;
  } catch {
    return undefined;
  }
}

function argumentsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
  } catch {
    return [];
  }
}
