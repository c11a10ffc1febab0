import { z } from 'zod';
import {
  CpuBreakdown,
  Exhaustion,
  Fits,
  HistogramCounts,
  MarginalCost,
  MemoryBreakdown,
  TenantUsage,
  UsageSums,
} from './density-parts';
import { GuardReport, RatioInForce } from './host-classes';
import { HostId, TenantId } from './ids';
import { Instant } from './microvm-events';
import { Coresidency } from './tenants';

export * from './density-history';
export * from './density-microvm';
export * from './density-parts';

const Promised = z.strictObject({ vcpus: z.number(), memoryMiB: z.number() });

const Pressure = z.strictObject({
  /** PSI avg10, percent; null where the kernel has no PSI. */
  cpuSome: z.number().nullable(),
  memorySome: z.number().nullable(),
  memoryFull: z.number().nullable(),
  ioSome: z.number().nullable(),
});

/** One microVM as its host measures it; the guest is not asked. */
export const MicrovmSample = z.strictObject({
  id: z.string(),
  epoch: z.int(),
  /** Proportional set size of the VMM process, guest pages included, KiB. */
  proportionalKiB: z.number(),
  /** Private pages of the VMM process, guest pages included, KiB. */
  privateKiB: z.number(),
  /** Private pages of the VMM process that are not guest memory, KiB. */
  overheadKiB: z.number(),
  /** CPU used by the VMM process since the sample before, as cores. */
  cpuCores: z.number(),
  /** run_delay / (run + run_delay) of the vCPU threads since the sample before, percent. */
  vcpuWaitPercent: z.number(),
});
export type MicrovmSample = z.infer<typeof MicrovmSample>;

/** Samples of some microVMs of one host, in no order. */
export const MicrovmSamples = z.strictObject({ hostId: HostId, at: Instant, samples: z.array(MicrovmSample).max(500) });
export type MicrovmSamples = z.infer<typeof MicrovmSamples>;

/** Who is on a host: what the placement service needs beside sums. Not part of what operators are shown. */
export const Occupancy = z.strictObject({
  /** Everybody admitted, in flight included. */
  tenants: z.array(z.strictObject({ tenant: TenantId, microvms: z.int(), coresidency: Coresidency.optional() })),
  /** microVMs by the groups of their placement rules. */
  groups: z.array(z.strictObject({ group: z.string(), microvms: z.int() })),
  /** Digests of imported images whose content is there. */
  images: z.array(z.string()),
  /** microVMs whose start was admitted or refused since the report before. */
  answered: z.array(z.string()),
});
export type Occupancy = z.infer<typeof Occupancy>;

/** Tenants of which a host reports what they use. Those with less there are in the sums alone. */
export const TENANTS_REPORTED = 200;

/** How full a host is; sent every report interval on core NATS and never used for admission. Formulas: docs/density.md. */
export const DensityReport = z.strictObject({
  hostId: HostId,
  at: Instant,
  microvms: z.int(),
  slots: z.strictObject({ total: z.int(), used: z.int() }),
  capacity: z.strictObject({ cpus: z.number(), memoryMiB: z.number(), reserveMiB: z.number() }),
  /** Promised to admitted microVMs. */
  commitment: z.strictObject({ vcpus: z.number(), memoryMiB: z.number() }),
  /** Really taken. memoryMiB = sum of proportional sizes; hostMemoryMiB = MemTotal - MemAvailable. */
  used: z.strictObject({
    cpuCores: z.number(),
    memoryMiB: z.number(),
    privateMiB: z.number(),
    overheadMiB: z.number(),
    hostMemoryMiB: z.number(),
  }),
  /** commitment / (capacity - reserve) now, and the limits admission enforces. */
  overcommit: z.strictObject({ cpu: z.number(), memory: z.number(), cpuLimit: z.number(), memoryLimit: z.number() }),
  /** What admission would still grant, and how many microVMs of the mean size that is. */
  headroom: z.strictObject({ vcpus: z.number(), memoryMiB: z.number(), slots: z.int(), microvms: z.int() }),
  vcpuWaitPercent: z.strictObject({ p50: z.number(), p99: z.number() }),
  pressure: Pressure,
  /** ms of CPU one sampling round took, so that the cost of measuring is itself measured. */
  samplingCpuMs: z.number(),
  /** The parts of the host's memory and CPU, sums over its microVMs, and what follows from them. Absent: nothing is measured there. */
  memory: MemoryBreakdown.optional(),
  /** Of the last window of some ten seconds; null before its end. */
  cpu: CpuBreakdown.nullable().optional(),
  microvmSums: UsageSums.optional(),
  marginalCost: MarginalCost.nullable().optional(),
  fits: Fits.optional(),
  /** Null: no trend that chance does not explain. */
  exhaustion: Exhaustion.nullable().optional(),
  /** Counters since the agent began. */
  counters: z
    .strictObject({
      /** What vCPUs ran, and waited for a CPU, seconds; and how the shares of waiting were spread over measurements. */
      vcpuRunSeconds: z.number(),
      vcpuWaitSeconds: z.number(),
      vcpuWaitRatio: HistogramCounts,
      /** From admission to the guest's boot-timer write. */
      startSeconds: HistogramCounts,
      /** CPU that measuring took, all of it. */
      samplingCpuSeconds: z.number(),
    })
    .optional(),
  /** The largest tenants here, by microVMs. Not part of what operators are shown of a host. */
  tenants: z.array(TenantUsage).max(TENANTS_REPORTED).optional(),
  occupancy: Occupancy.optional(),
  /**
   * Clones that wait in the pools of templates, and the memory that would be promised to them if all were claimed. Nothing is promised to them
   * yet; what they hold is in `memory`, among other processes and the kernel's.
   */
  pooled: z.strictObject({ clones: z.int(), memoryMiB: z.number() }).optional(),
  /** Promised to those of the class `guaranteed`, and what admission would still grant them. */
  guaranteed: z.strictObject({ commitment: Promised, headroom: Promised }).optional(),
  guards: GuardReport.optional(),
  /**
   * Guaranteed vCPUs for which the kernel keeps CPU time, and how much in all, in CPUs. `refused`: the code with which it gave no more when it
   * was asked last. Absent: switched off.
   */
  cpuReservations: z.strictObject({ vcpus: z.int(), cpus: z.number(), refused: z.string().optional() }).optional(),
  /** How the limits of admission came to be. */
  ratio: RatioInForce.optional(),
});
export type DensityReport = z.infer<typeof DensityReport>;

/** The fleet's density: the latest report of every host and their sums. */
export const FleetDensity = z.strictObject({
  at: Instant,
  hosts: z.array(DensityReport),
  fleet: z.strictObject({
    microvms: z.int(),
    slots: z.strictObject({ total: z.int(), used: z.int() }),
    commitment: z.strictObject({ vcpus: z.number(), memoryMiB: z.number() }),
    used: z.strictObject({ cpuCores: z.number(), memoryMiB: z.number() }),
    overcommit: z.strictObject({ cpu: z.number(), memory: z.number() }),
    headroom: z.strictObject({ vcpus: z.number(), memoryMiB: z.number(), slots: z.int() }),
  }),
  /** The largest tenants by microVMs, and what they use on all hosts. Absent: the hosts do not tell. */
  tenants: z.array(TenantUsage).max(TENANTS_REPORTED).optional(),
});
export type FleetDensity = z.infer<typeof FleetDensity>;
