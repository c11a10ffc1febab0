import type { DensityReport, FleetDensity, Host, HostStateName } from '#protocol';

/** A report older than this, by the clock of this page or of the newest report, no longer describes its host. ms. */
export const REPORT_STALE_MS = 15_000;

export interface HostRow {
  host: Host | null;
  id: string;
  density: DensityReport | null;
  stale: boolean;
}

/** Hosts and their reports side by side, by id; a report without a known host is shown too. */
export function hostRows(hosts: ReadonlyMap<string, Host>, density: FleetDensity | null): HostRow[] {
  const reports = new Map((density?.hosts ?? []).map((report) => [report.hostId, report]));
  const ids = new Set([...hosts.keys(), ...reports.keys()]);
  return [...ids].sort().map((id) => {
    const report = reports.get(id) ?? null;
    return {
      id,
      host: hosts.get(id) ?? null,
      density: report,
      // Both times are of the gateway's side; the clock of this machine may be wrong.
      stale: report !== null && density !== null && density.at - report.at > REPORT_STALE_MS,
    };
  });
}

export interface FleetCapacity {
  cpus: number;
  memoryMiB: number;
  reserveMiB: number;
}

export function fleetCapacity(density: FleetDensity): FleetCapacity {
  const sum = { cpus: 0, memoryMiB: 0, reserveMiB: 0 };
  for (const { capacity } of density.hosts) {
    sum.cpus += capacity.cpus;
    sum.memoryMiB += capacity.memoryMiB;
    sum.reserveMiB += capacity.reserveMiB;
  }
  return sum;
}

export interface Worst {
  value: number;
  hostId: string;
}

/** The host under the most pressure by one measure; null when no host measures it. */
export function worst(density: FleetDensity, of: (report: DensityReport) => number | null): Worst | null {
  let found: Worst | null = null;
  for (const report of density.hosts) {
    const value = of(report);
    if (value !== null && (found === null || value > found.value)) found = { value, hostId: report.hostId };
  }
  return found;
}

export function countHostStates(hosts: Iterable<Host>): Map<HostStateName, number> {
  const counts = new Map<HostStateName, number>();
  for (const { state } of hosts) counts.set(state, (counts.get(state) ?? 0) + 1);
  return counts;
}

export type Level = 'calm' | 'raised' | 'high';

/** How alarming a measure is, as far as colour goes: from `raised` on it deserves a look, from `high` on work. */
export function level(value: number | null | undefined, raised: number, high: number): Level {
  if (value === null || value === undefined || value < raised) return 'calm';
  return value < high ? 'raised' : 'high';
}
