import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { identify, type ProcessIdentity } from './process-identity';

/** Environment variable by which every process of a supervisor is known, even when nobody has written down its id. */
export const MARK = 'VOLLEY_SUPERVISED';

export function markOf(folder: string, name: string): string {
  return `${folder}#${name}`;
}

export interface MarkedProcess extends ProcessIdentity {
  name: string;
}

/** VMMs may have inherited the mark from their host agent, and are nobody's to end here. */
const NOT_OURS = 'volley-vmm';

/** Every living process that a supervisor of this folder has started, by the mark in its environment. */
export function markedProcesses(folder: string): MarkedProcess[] {
  const found: MarkedProcess[] = [];
  const prefix = `${MARK}=${folder}#`;
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const pid = Number(entry);
    if (pid === process.pid) continue;
    try {
      const mark = readFileSync(`/proc/${pid}/environ`, 'utf8')
        .split('\0')
        .find((line) => line.startsWith(prefix));
      if (mark === undefined || basename(readlinkSync(`/proc/${pid}/exe`)).startsWith(NOT_OURS)) continue;
      const identity = identify(pid);
      if (identity) found.push({ ...identity, name: mark.slice(prefix.length) });
    } catch {
      // gone meanwhile, a kernel thread, or another user's
    }
  }
  return found;
}
