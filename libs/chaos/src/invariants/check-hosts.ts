import type { Ending } from './check-histories';
import type { FoundVmm } from './scan-vmms';
import { ALIVE, RESTING } from './legal-paths';
import type { Violation } from './violation';

/** Compares what the histories say in the end with what really runs: S1, S2, S3, and L1 when the fleet had time to settle. */
export function checkHosts(
  endings: readonly Ending[],
  found: readonly Pick<FoundVmm, 'pid' | 'microvmId' | 'epoch'>[],
  accepted: Iterable<string>,
): Violation[] {
  const violations: Violation[] = [];
  const report = (rule: string, subject: string, detail: string): void =>
    void violations.push({ rule, subject, detail });
  const byId = new Map(endings.map((ending) => [ending.id, ending]));
  const processes = new Map<string, number[]>();
  for (const { microvmId, pid, epoch } of found) {
    processes.set(microvmId, [...(processes.get(microvmId) ?? []), pid]);
    const latest = byId.get(microvmId)?.epoch;
    if (latest !== undefined && epoch !== latest)
      report('S1', microvmId, `process ${pid} is of epoch ${epoch}, but the latest is ${latest}`);
  }

  for (const id of accepted) if (!byId.has(id)) report('S2', id, 'was accepted but has no history');
  for (const ending of endings) {
    const pids = processes.get(ending.id) ?? [];
    if (pids.length > 1) report('S1', ending.id, `runs ${pids.length} times: pids ${pids.join(', ')}`);
    if (!RESTING.includes(ending.state)) report('L1', ending.id, `did not settle: ${ending.state}`);
    if (ALIVE.includes(ending.state) && pids.length === 0)
      report('S2', ending.id, `is ${ending.state} but has no process`);
    if (RESTING.includes(ending.state) && !ALIVE.includes(ending.state) && pids.length > 0) {
      report('S3', ending.id, `is ${ending.state} but process ${pids.join(', ')} lives`);
    }
  }
  for (const [id, pids] of processes)
    if (!byId.has(id)) report('S3', id, `process ${pids.join(', ')} belongs to no history`);
  return violations;
}
