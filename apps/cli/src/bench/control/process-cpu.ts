import { readFileSync } from 'node:fs';

/** Kernel ticks per second of /proc, the same on every Linux that Node runs on. */
const TICKS = 100;

/** CPU time of each process until now, user and system, in s (proc(5), fields 14 and 15 of stat). */
export function processCpu(pids: Record<string, number>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(pids).map(([name, pid]) => {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return [name, (Number(fields[11]) + Number(fields[12])) / TICKS];
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
