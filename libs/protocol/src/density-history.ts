import { z } from 'zod';
import { HostId, TenantId } from './ids';
import { Instant } from './microvm-events';

/** Of whom density is kept. */
export const DensityScope = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('fleet') }),
  z.strictObject({ kind: z.literal('host'), hostId: HostId }),
  z.strictObject({ kind: z.literal('tenant'), tenant: TenantId }),
]);
export type DensityScope = z.infer<typeof DensityScope>;

/** What is kept of a scope; of a tenant there are only the first five. Memory in MiB. */
export const KEPT_FIGURES = [
  'microvms',
  'committedVcpus',
  'committedMemoryMiB',
  'cpuCores',
  'proportionalMiB',
  'hostUsedMiB',
  'guestMiB',
  'overheadMiB',
  'vcpuWaitP99Percent',
  'cpuPressurePercent',
  'memoryPressurePercent',
  'marginalCostKiB',
  'fits',
] as const;
export type KeptFigure = (typeof KEPT_FIGURES)[number];

/** Over the readings of one step. */
export const FigureSpread = z.strictObject({ min: z.number(), mean: z.number(), max: z.number(), p99: z.number() });
export type FigureSpread = z.infer<typeof FigureSpread>;

export const DensityPoint = z.strictObject({
  /** The beginning of the step. */
  at: Instant,
  /** Readings in it. */
  readings: z.int(),
  figures: z.partialRecord(z.enum(KEPT_FIGURES), FigureSpread),
});
export type DensityPoint = z.infer<typeof DensityPoint>;

/** Points of one scope, oldest first. Steps of which nothing is known are missing. */
export const DensityHistory = z.strictObject({
  from: Instant,
  to: Instant,
  stepMs: z.int(),
  points: z.array(DensityPoint).max(2_000),
});
export type DensityHistory = z.infer<typeof DensityHistory>;

/** Points of ten seconds for an hour, and of minutes for eight days; the oldest go first when there are more than fit. */
export const DENSITY_RECENT_STREAM = {
  name: 'DENSITY_RECENT',
  subjects: ['volley.density.recent.>'],
  stepMs: 10_000,
  maxAgeMs: 3_600_000,
  maxBytes: 512 * 1024 ** 2,
} as const;
export const DENSITY_MINUTES_STREAM = {
  name: 'DENSITY_MINUTES',
  subjects: ['volley.density.minutes.>'],
  stepMs: 60_000,
  maxAgeMs: 8 * 24 * 3_600_000,
  maxBytes: 2 * 1024 ** 3,
} as const;
export type DensityResolution = 'recent' | 'minutes';

/** Where points of one scope are stored. */
export function densityPointsOf(resolution: DensityResolution, scope: DensityScope): string {
  const tail =
    scope.kind === 'fleet' ? 'fleet' : scope.kind === 'host' ? `host.${scope.hostId}` : `tenant.${scope.tenant}`;
  return `volley.density.${resolution}.${tail}`;
}
