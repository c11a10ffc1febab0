import { basename } from 'node:path';
import type { Logger } from 'pino';
import { holdsPlace } from '../journal/host-record';
import type { HostState } from '../journal/host-state';
import { incarnationOf } from '../journal/host-state';
import type { RunFolders } from '../microvms/run-folders';
import { isRunning } from '../microvms/unadopted-process';
import { wakesOn } from '../wake/wake-doors';
import { vmmsUnder, type FoundVmm } from './vmm-search';

export interface OrphanParts {
  state: HostState;
  folders: RunFolders;
  /** Default: all that run. */
  vmms?: (root: string) => FoundVmm[];
  log: Logger;
  kill?: (pid: number) => void;
}

/** A VMM or a folder under our run folder that no record of the journal owns. */
export interface OrphanReport {
  processes: FoundVmm[];
  folders: string[];
}

/**
 * Finds what lies under our run folder and belongs to no record of the journal, reports it, and ends and removes it. Only what
 * provably was made by an agent on this host directory is touched: a VMM proves it by the page file it holds open.
 */
export async function reclaimOrphans(parts: OrphanParts): Promise<OrphanReport> {
  const { state, folders, log, vmms = vmmsUnder } = parts;
  const report: OrphanReport = { processes: [], folders: [] };
  for (const vmm of vmms(folders.root)) {
    const epoch = Number(basename(vmm.directory).slice(vmm.microvmId.length + 1));
    const owner = incarnationOf(state, vmm.microvmId, epoch);
    const owned = owner && holdsPlace(owner) && (owner.identity === undefined || owner.identity.pid === vmm.pid);
    if (owned || !isRunning(vmm)) continue;
    report.processes.push(vmm);
    log.error({ ...vmm, epoch }, 'a VMM runs here that no record of the journal owns: it is ended');
    (parts.kill ?? ((pid: number) => void process.kill(pid, 'SIGKILL')))(vmm.pid);
  }
  for (const { microvmId, epoch, path } of folders.list()) {
    const owner = incarnationOf(state, microvmId, epoch);
    if (owner && owner.phase !== 'suspended') continue;
    report.folders.push(path);
    log.warn({ path }, 'a run folder that no record of the journal owns is removed');
    await folders.remove(microvmId, epoch);
  }
  const names = folders.guestSockets.clear((id) => {
    const owner = state.incarnations.get(id);
    return (
      owner !== undefined &&
      (holdsPlace(owner) || (owner.phase === 'suspended' && wakesOn(owner.spec).includes('vsock')))
    );
  });
  if (names.length > 0) log.debug({ names }, 'sockets of guests that no record of the journal owns are removed');
  return report;
}
