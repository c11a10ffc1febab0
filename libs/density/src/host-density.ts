import { TENANTS_REPORTED, type CpuBreakdown, type DensityReport, type TenantUsage, type UsageSums } from '#protocol';
import { headroomOf, overcommitRatio, type Capacity, type Commitment } from '#scheduling';
import { addWork, noWork, type DeviceReading } from './device-work';
import { UsedTrend } from './exhaustion';
import { fitsOf } from './fits';
import { percentile } from './formulas';
import { Histogram, START_BOUNDS } from './histogram';
import type { HostReading } from './host-reading';
import { MarginalCostEstimator } from './marginal-cost';
import { breakDownMemory } from './memory-breakdown';
import { addReading, noReadings, type MicrovmReading, type ReadingSums } from './microvm-reading';
import type { CpuTime } from './microvm-sampler';

/** One round of the sampler, as the host's figures need it. */
export interface MeasuredRound {
  /** When, on the sampler's clock, ms. */
  atMs: number;
  readings: readonly MicrovmReading[];
  host: HostReading;
  cpuTime: CpuTime;
  /** Of the last window that ended; undefined before. */
  cpu: CpuBreakdown | undefined;
  samplingCpuMs: number;
}

/** The latest of one microVM. */
export interface MeasuredMicrovm {
  reading: MicrovmReading;
  devices: DeviceReading | undefined;
}

/** What a report contains beside what was measured. */
export interface ReportInputs {
  hostId: string;
  /** Wall clock, ms. */
  at: number;
  capacity: Capacity;
  /** Of everything admitted, in flight included. */
  commitment: Commitment;
  /** Slots in use. */
  admitted: number;
  /** microVMs whose VMM runs. */
  microvms: number;
  tenants: readonly { tenant: string; microvms: number; commitment: Commitment }[];
  /** Undefined: not of a tenant that is known here. */
  tenantOf: (microvmId: string) => string | undefined;
}

/** The density of one host: keeps the latest of every microVM and what only many readings tell. No I/O. */
export class HostDensity {
  readonly #latest = new Map<string, MeasuredMicrovm>();
  readonly #cost = new MarginalCostEstimator();
  readonly #trend = new UsedTrend();
  readonly #starts = new Histogram(START_BOUNDS);
  #round: MeasuredRound | undefined;
  #samplingCpuMs = 0;

  /** A guest has booted, so long after its admission. */
  started(seconds: number): void {
    this.#starts.observe(seconds);
  }

  forget(microvmId: string): void {
    this.#latest.delete(microvmId);
  }

  of(microvmId: string): MeasuredMicrovm | undefined {
    return this.#latest.get(microvmId);
  }

  /** `devicesOf`: undefined where a microVM has none. */
  take(round: MeasuredRound, devicesOf: (microvmId: string) => DeviceReading | undefined): void {
    for (const reading of round.readings) this.#latest.set(reading.id, { reading, devices: devicesOf(reading.id) });
    this.#round = round;
    this.#samplingCpuMs += round.samplingCpuMs;
    const { memory } = round.host;
    this.#trend.add(round.atMs, memory.totalKiB - memory.availableKiB);
  }

  /** Puts a report together, after a round was taken; every formula is explained in docs/density.md. */
  report(inputs: ReportInputs): DensityReport {
    const round = this.#round;
    if (!round) throw new Error('nothing was measured yet');
    const { capacity, commitment, microvms } = inputs;
    const { host, cpuTime } = round;
    const { sums, usage, waits, ofTenant } = this.#sum(inputs);
    this.#cost.add(host.memory, microvms, sums, round.atMs);
    const marginalCost = this.#cost.estimate(microvms, sums, host.charged);
    return {
      ...{ hostId: inputs.hostId, at: inputs.at, microvms },
      slots: { total: capacity.slots, used: inputs.admitted },
      capacity: { cpus: capacity.cpus, memoryMiB: capacity.memoryMiB, reserveMiB: capacity.reserveMiB },
      commitment,
      used: {
        cpuCores: sums.cpuCores,
        memoryMiB: sums.proportionalKiB / 1024,
        privateMiB: sums.privateKiB / 1024,
        overheadMiB: sums.overheadKiB / 1024,
        hostMemoryMiB: (host.memory.totalKiB - host.memory.availableKiB) / 1024,
      },
      overcommit: {
        cpu: overcommitRatio(commitment.vcpus, capacity.cpus),
        memory: overcommitRatio(commitment.memoryMiB, capacity.memoryMiB, capacity.reserveMiB),
        cpuLimit: capacity.overcommit.cpu,
        memoryLimit: capacity.overcommit.memory,
      },
      headroom: headroomOf(capacity, commitment, inputs.admitted),
      vcpuWaitPercent: { p50: percentile(waits, 50), p99: percentile(waits, 99) },
      pressure: host.pressure,
      samplingCpuMs: round.samplingCpuMs,
      memory: breakDownMemory({
        ...{ memory: host.memory, microvms, sums, charged: host.charged },
        uncountedEachKiB: this.#cost.uncountedEachKiB,
      }),
      cpu: round.cpu ?? null,
      microvmSums: usage,
      marginalCost,
      fits: fitsOf({
        ...{ capacity, commitment, admitted: inputs.admitted, availableKiB: host.memory.availableKiB },
        marginalKiB: marginalCost?.kib,
        meanGuestKiB: sums.measured > 0 ? sums.guestKiB / sums.measured : 0,
      }),
      exhaustion: this.#trend.exhaustion(host.memory.availableKiB),
      counters: {
        vcpuRunSeconds: cpuTime.runNs / 1e9,
        vcpuWaitSeconds: cpuTime.delayNs / 1e9,
        vcpuWaitRatio: cpuTime.waitRatio,
        startSeconds: this.#starts.read(),
        samplingCpuSeconds: this.#samplingCpuMs / 1e3,
      },
      tenants: largest(inputs.tenants).map((tenant) => ({ ...tenant, used: ofTenant.get(tenant.tenant) ?? noUsage() })),
    };
  }

  /** All sums in one pass. */
  #sum({ tenantOf }: ReportInputs) {
    const sums = noReadings();
    const usage = noUsage();
    const ofTenant = new Map<string, UsageSums>();
    const waits: number[] = [];
    for (const [id, measured] of this.#latest) {
      addReading(sums, measured.reading);
      addUsage(usage, measured);
      waits.push(measured.reading.vcpuWaitPercent);
      const tenant = tenantOf(id);
      if (tenant === undefined) continue;
      let own = ofTenant.get(tenant);
      if (!own) ofTenant.set(tenant, (own = noUsage()));
      addUsage(own, measured);
    }
    return { sums, usage, ofTenant, waits };
  }
}

function largest(tenants: ReportInputs['tenants']): Omit<TenantUsage, 'used'>[] {
  const sorted = [...tenants].sort((a, b) => b.microvms - a.microvms || (a.tenant < b.tenant ? -1 : 1));
  return sorted
    .slice(0, TENANTS_REPORTED)
    .map(({ tenant, microvms, commitment }) => ({ tenant, microvms, commitment }));
}

/** Fields of {@link UsageSums} that are sums of fields of the same name. */
const SUMMED = [
  'residentKiB',
  'proportionalKiB',
  'privateKiB',
  'overheadKiB',
  'guestKiB',
  'sharedKiB',
  'swapKiB',
  'pageTablesKiB',
  'cpuCores',
  'guestCores',
] as const satisfies readonly (keyof UsageSums & keyof ReadingSums)[];

export function noUsage(): UsageSums {
  return {
    ...{ measured: 0, residentKiB: 0, proportionalKiB: 0, privateKiB: 0, overheadKiB: 0, guestKiB: 0, sharedKiB: 0 },
    ...{ balloonedKiB: 0, swapKiB: 0, pageTablesKiB: 0, cpuCores: 0, guestCores: 0, throttledMs: 0 },
    ...{ disk: noWork(), network: noWork() },
  };
}

/** Adds sums to sums. */
export function addUsages(to: UsageSums, more: UsageSums): void {
  to.measured += more.measured;
  for (const field of [...SUMMED, 'balloonedKiB', 'throttledMs'] as const) to[field] += more[field];
  addWork(to.disk, more.disk);
  addWork(to.network, more.network);
}

function addUsage(usage: UsageSums, { reading, devices }: MeasuredMicrovm): void {
  usage.measured++;
  for (const field of SUMMED) usage[field] += reading[field];
  usage.throttledMs += reading.throttling?.ms ?? 0;
  if (!devices) return;
  usage.balloonedKiB += devices.balloonedKiB;
  addWork(usage.disk, devices.disk);
  addWork(usage.network, devices.network);
}
