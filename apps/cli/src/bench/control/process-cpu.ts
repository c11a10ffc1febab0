import { readFileSync } from 'node:fs';
import { parseProcessStat } from '#density';

/** CPU time of each process until now, user and system, in s. */
export function processCpu(pids: Record<string, number>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(pids).map(([name, pid]) => {
      const stat = parseProcessStat(readFileSync(`/proc/${pid}/stat`, 'utf8'));
      return [name, (stat?.cpuMs ?? 0) / 1_000];
    }),
  );
}

/** What was used since, per process, as a share of one CPU over `ms`. */
export function cpuShares(
  before: Record<string, number>,
  after: Record<string, number>,
  ms: number,
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(after).map(([name, used]) => [
      name,
      Math.round(((used - (before[name] ?? 0)) / (ms / 1_000)) * 100) / 100,
    ]),
  );
}
