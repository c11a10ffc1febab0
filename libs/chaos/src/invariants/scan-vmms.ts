import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { FoundVmm } from './check-hosts';

/**
 * Finds VMM processes by looking at the machine alone: every process whose first argument ends in `volley-vmm` and that has a file
 * below `runDirectory` open. The second argument is the microVM's id.
 */
export function scanVmms(runDirectory: string): FoundVmm[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const [program, microvmId] = commandLine(pid);
      if (!program?.endsWith('volley-vmm') || !microvmId) return [];
      return holdsFileBelow(pid, runDirectory) ? [{ pid: Number(pid), microvmId }] : [];
    });
}

function commandLine(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return []; // gone meanwhile
  }
}

function holdsFileBelow(pid: string, directory: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith(directory);
      } catch {
        return false;
      }
    });
  } catch {
    return false;
  }
}
