import { readdirSync, readFileSync } from 'node:fs';
import type { FoundVmm } from './check-hosts';

/**
 * Finds VMM processes by looking at the machine alone: every process whose first argument ends in `volley-vmm` and that has a file
 * below `runDirectory` mapped. The second argument is the microVM's id.
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

/** A VMM keeps no descriptor of its page file: it has it mapped. */
function holdsFileBelow(pid: string, directory: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/maps`, 'utf8')
      .split('\n')
      .some((line) => line.includes('/') && line.slice(line.indexOf('/')).startsWith(`${directory}/`));
  } catch {
    return false;
  }
}
