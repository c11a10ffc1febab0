import type { HostBooks } from '../host/host-books';
import type { Belongings } from '../host/scan-belongings';
import type { FoundVmm } from './scan-vmms';
import type { Violation } from './violation';

export interface AgentOnHost {
  hostId: string;
  /** Of its process. */
  pid: number;
  /** How many it offers. */
  slots: number;
}

/**
 * S3: every process, cgroup, tap, run folder, disk and lock that a host holds belongs to a record of its journal; and the other way round,
 * what the journal says is alive has its process.
 */
export function checkBelongings(
  { hostId, pid: agentPid, slots }: AgentOnHost,
  books: HostBooks,
  vmms: readonly FoundVmm[],
  held: Belongings,
): Violation[] {
  const violations: Violation[] = [];
  const report = (subject: string, detail: string): void =>
    void violations.push({ rule: 'S3', subject, detail: `${detail} on ${hostId}` });

  for (const { pid, microvmId, epoch } of vmms) {
    const booked = books.incarnations.get(microvmId);
    if (!booked) report(microvmId, `process ${pid} of epoch ${epoch} has no record`);
    else if (booked.ended || booked.epoch !== epoch || booked.pid !== pid)
      report(microvmId, `process ${pid} of epoch ${epoch} runs, but the record says ${JSON.stringify(booked)}`);
  }
  for (const { microvmId, epoch, pid } of books.alive()) {
    if (!vmms.some((vmm) => vmm.microvmId === microvmId && vmm.epoch === epoch))
      report(microvmId, `epoch ${epoch} is on record as alive, but process ${pid} does not run`);
  }
  const holders = new Map(books.alive().map((booked) => [booked.slot, booked]));
  for (const { slot, pid, parent, isShell } of held.inSlots) {
    const holder = holders.get(slot);
    if (isShell && parent !== agentPid) report(`slot ${slot}`, `shell ${pid} has outlived its agent`);
    if (!isShell && holder?.pid !== pid)
      report(`slot ${slot}`, `process ${pid} is in a slot that ${holder?.microvmId ?? 'nobody'} holds`);
  }
  for (const folder of held.runFolders) {
    const [microvmId, epoch] = folder.split('-') as [string, string];
    if (books.incarnations.get(microvmId)?.epoch !== Number(epoch))
      report(microvmId, `run folder ${folder} has no record`);
  }
  for (const microvmId of held.disks) if (!books.incarnations.has(microvmId)) report(microvmId, 'disks have no record');
  for (const slot of held.taps)
    if (slot >= slots) report(`slot ${slot}`, 'a tap is there for a slot that is not offered');
  if (held.locks !== 1) report(hostId, `${held.locks} processes hold the lock of its folder`);
  return violations;
}
