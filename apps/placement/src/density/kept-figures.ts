import type { DensityReport, FleetDensity, KeptFigure, TenantUsage } from '#protocol';

type Figures = Partial<Record<KeptFigure, number>>;

/** Only what is known. */
function known(figures: Partial<Record<KeptFigure, number | null | undefined>>): Figures {
  return Object.fromEntries(Object.entries(figures).filter(([, value]) => typeof value === 'number')) as Figures;
}

/** What is kept of one reading of a host. */
export function figuresOfHost(report: DensityReport): Figures {
  const { memory } = report;
  return known({
    microvms: report.microvms,
    committedVcpus: report.commitment.vcpus,
    committedMemoryMiB: report.commitment.memoryMiB,
    cpuCores: report.used.cpuCores,
    proportionalMiB: report.used.memoryMiB,
    hostUsedMiB: report.used.hostMemoryMiB,
    guestMiB: memory && (memory.guestPrivateKiB + memory.guestSharedKiB) / 1024,
    overheadMiB:
      memory &&
      (memory.vmmKiB + memory.microvmPageTablesKiB + memory.microvmStacksKiB + memory.microvmKernelKiB) / 1024,
    vcpuWaitP99Percent: report.vcpuWaitPercent.p99,
    cpuPressurePercent: report.pressure.cpuSome,
    memoryPressurePercent: report.pressure.memorySome,
    marginalCostKiB: report.marginalCost?.kib,
    fits: report.fits?.microvms,
  });
}

/** Sums are sums; of wait, pressure and marginal cost it is the worst host that counts. */
export function figuresOfFleet({ hosts, fleet }: FleetDensity): Figures {
  const all = hosts.map(figuresOfHost);
  const sum = (name: KeptFigure): number => all.reduce((total, one) => total + (one[name] ?? 0), 0);
  const worst = (name: KeptFigure): number | undefined => {
    const values = all.flatMap(({ [name]: value }) => (value === undefined ? [] : [value]));
    return values.length > 0 ? Math.max(...values) : undefined;
  };
  return known({
    microvms: fleet.microvms,
    committedVcpus: fleet.commitment.vcpus,
    committedMemoryMiB: fleet.commitment.memoryMiB,
    cpuCores: fleet.used.cpuCores,
    proportionalMiB: fleet.used.memoryMiB,
    ...{
      hostUsedMiB: sum('hostUsedMiB'),
      guestMiB: sum('guestMiB'),
      overheadMiB: sum('overheadMiB'),
      fits: sum('fits'),
    },
    vcpuWaitP99Percent: worst('vcpuWaitP99Percent'),
    cpuPressurePercent: worst('cpuPressurePercent'),
    memoryPressurePercent: worst('memoryPressurePercent'),
    marginalCostKiB: worst('marginalCostKiB'),
  });
}

export function figuresOfTenant({ microvms, commitment, used }: TenantUsage): Figures {
  return {
    microvms,
    committedVcpus: commitment.vcpus,
    committedMemoryMiB: commitment.memoryMiB,
    cpuCores: used.cpuCores,
    proportionalMiB: used.proportionalKiB / 1024,
  };
}
