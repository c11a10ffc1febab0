import { z } from 'zod';
import { GroupId, GroupSummary } from './groups';
import { HostStateName } from './host';
import { HostId } from './ids';
import { Instant, MicrovmStateName } from './microvm-events';

/** Where a microVM was in its life, and on which host. */
export const MicrovmSituation = z.strictObject({
  state: MicrovmStateName,
  hostId: HostId.nullable(),
  epoch: z.int(),
});
export type MicrovmSituation = z.infer<typeof MicrovmSituation>;

/** What became of one microVM between two instants. */
export const MicrovmDifference = z.strictObject({
  id: z.string(),
  name: z.string().nullable(),
  /** Null of one that came and went: nobody asked what it was. */
  tenant: z.string().nullable(),
  change: z.enum(['appeared', 'changed', 'ended', 'cameAndWent']),
  /** At the first instant; null: it was not there. */
  from: MicrovmSituation.nullable(),
  /** At the second instant; null: it was deleted. */
  to: MicrovmSituation.nullable(),
});
export type MicrovmDifference = z.infer<typeof MicrovmDifference>;

/** What became of one host between two instants. */
export const HostDifference = z.strictObject({
  id: HostId,
  from: HostStateName.nullable(),
  to: HostStateName,
});
export type HostDifference = z.infer<typeof HostDifference>;

/** What a group wants at an instant, and how far its rollout is. */
const GroupSituation = GroupSummary.pick({ state: true, replicas: true, specRevision: true, rollout: true });

/** What became of one group between two instants; null: it was not there, or deleted. */
export const GroupDifference = z.strictObject({
  id: GroupId,
  from: GroupSituation.nullable(),
  to: GroupSituation.nullable(),
});
export type GroupDifference = z.infer<typeof GroupDifference>;

/** From an instant up to, and not including, another; ms since 1970. */
export const Span = z.strictObject({ from: Instant, to: Instant });
export type Span = z.infer<typeof Span>;

/** Who shared one host with a tenant. */
export const HostCoresidency = z.strictObject({
  hostId: HostId,
  /** When anybody else was there together with the tenant. */
  spans: z.array(Span),
  /** The tenant's microVMs that were there at these times. */
  own: z.array(z.string()),
  others: z.array(
    z.strictObject({
      tenant: z.string(),
      microvms: z.array(z.strictObject({ id: z.string(), spans: z.array(Span) })),
    }),
  ),
});
export type HostCoresidency = z.infer<typeof HostCoresidency>;

/** How retention stands: what it was told, and what it has taken away. */
export const Retention = z.strictObject({
  /** Histories of microVMs that were deleted longer ago than this are compacted to their end. Null: everything is kept. */
  days: z.number().positive().nullable(),
  /** Those of which the end lies before this instant may be compacted by now, ms since 1970; null: none was ever. */
  compactedBefore: Instant.nullable(),
  /** When it was last gone through completely, ms since 1970. */
  ranAt: Instant.nullable(),
});
export type Retention = z.infer<typeof Retention>;
