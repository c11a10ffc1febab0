import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { goneWithin, identify, type ProcessIdentity, signalProcess } from './process-identity';

/** Every living VMM whose statistics page lies below `runDir`: those of one data folder, whoever launched them. */
export function vmmProcesses(runDir: string): ProcessIdentity[] {
  const found: ProcessIdentity[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      if (!basename(readlinkSync(`/proc/${entry}/exe`)).startsWith('volley-vmm')) continue;
      if (!readFileSync(`/proc/${entry}/maps`, 'latin1').includes(`${runDir}/`)) continue;
      const identity = identify(Number(entry));
      if (identity) found.push(identity);
    } catch {
      // gone meanwhile, a kernel thread, or another user's
    }
  }
  return found;
}

/** Kills them, a few at a time: the kernel takes a while to take a machine apart. Resolves with how many are left. */
export async function killVmms(vmms: readonly ProcessIdentity[]): Promise<number> {
  const queue = [...vmms];
  let left = 0;
  const worker = async (): Promise<void> => {
    for (let vmm = queue.pop(); vmm; vmm = queue.pop()) {
      signalProcess(vmm, 'SIGKILL');
      if (!(await goneWithin(vmm, 5_000))) left++;
    }
  };
  await Promise.all(Array.from({ length: 32 }, worker));
  return left;
}
