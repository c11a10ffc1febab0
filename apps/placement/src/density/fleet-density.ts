import type { DensityReport, FleetDensity } from '#protocol';

/** Sums the hosts' reports. Ratios of the fleet are ratios of the sums, not means of ratios. */
export function sumDensity(hosts: DensityReport[], at: number): FleetDensity {
  const sum = (pick: (report: DensityReport) => number): number =>
    hosts.reduce((total, report) => total + pick(report), 0);
  const commitment = { vcpus: sum((r) => r.commitment.vcpus), memoryMiB: sum((r) => r.commitment.memoryMiB) };
  const cpus = sum((r) => r.capacity.cpus);
  const memoryMiB = sum((r) => r.capacity.memoryMiB - r.capacity.reserveMiB);
  return {
    at,
    // Who is where is not density.
    hosts: hosts.map(({ occupancy: _, tenants: __, ...density }) => density),
    fleet: {
      microvms: sum((r) => r.microvms),
      slots: { total: sum((r) => r.slots.total), used: sum((r) => r.slots.used) },
      commitment,
      used: { cpuCores: sum((r) => r.used.cpuCores), memoryMiB: sum((r) => r.used.memoryMiB) },
      overcommit: { cpu: ratio(commitment.vcpus, cpus), memory: ratio(commitment.memoryMiB, memoryMiB) },
      headroom: {
        vcpus: sum((r) => r.headroom.vcpus),
        memoryMiB: sum((r) => r.headroom.memoryMiB),
        slots: sum((r) => r.headroom.slots),
      },
    },
  };
}

function ratio(part: number, whole: number): number {
  return whole <= 0 ? 0 : Math.round((part / whole) * 10_000) / 10_000;
}
