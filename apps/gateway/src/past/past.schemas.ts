import {
  GroupDifference,
  GroupSummary,
  Host,
  HostCoresidency,
  HostDifference,
  Microvm,
  MicrovmDifference,
  MicrovmId,
  TenantId,
} from '#protocol';
import { z } from 'zod';
import { count, InstantText } from '../http/query-types';
import { ListQuery } from '../microvms/microvms.schemas';

export const FleetQuery = ListQuery.extend({
  at: InstantText.optional().describe('The fleet as it was at this instant; absent: as it is now.'),
});

const Counts = z.record(z.string(), z.int());
const Compacted = z
  .string()
  .nullable()
  .describe(
    'MicroVMs that were deleted before this instant may be missing: their histories were compacted. Null: none.',
  );

export const FleetAt = z.strictObject({
  at: z.string(),
  items: z.array(Microvm),
  /** Null on the last page. */
  nextCursor: z.string().nullable(),
  /** On the first page; absent on the others. */
  hosts: z.array(Host).optional(),
  /** As `hosts`. */
  groups: z.array(GroupSummary).optional(),
  /** Living microVMs by state, whatever the filter. */
  states: Counts,
  compactedBefore: Compacted,
});

export const DiffQuery = z.strictObject({
  from: InstantText.describe('The earlier instant.'),
  to: InstantText.optional().describe('The later instant; absent: now.'),
  limit: count(1, 1000).prefault('100').describe('Most items of one page.'),
  cursor: MicrovmId.optional().describe('`nextCursor` of the page before.'),
});

export const FleetDiffAnswer = z.strictObject({
  from: z.string(),
  to: z.string(),
  /** How many microVMs of each kind. */
  sums: z.strictObject({
    appeared: z.int(),
    changed: z.int(),
    ended: z.int(),
    cameAndWent: z.int(),
    unchanged: z.int(),
  }),
  /** Living microVMs by state at either instant. */
  states: z.strictObject({ from: Counts, to: Counts }),
  items: z.array(MicrovmDifference),
  nextCursor: z.string().nullable(),
  /** Those whose state is another one; on the first page. */
  hosts: z.array(HostDifference).optional(),
  /** Those that want something else, came, or were deleted; on the first page. */
  groups: z.array(GroupDifference).optional(),
  compactedBefore: Compacted,
});

export const CoresidencyQuery = z.strictObject({
  tenant: TenantId,
  from: InstantText.describe('The earlier instant.'),
  to: InstantText.optional().describe('The later instant; absent: now.'),
});

export const CoresidencyAnswer = z.strictObject({
  tenant: TenantId,
  from: z.string(),
  to: z.string(),
  hosts: z.array(HostCoresidency),
  /** MicroVMs that lived in that time of which retention has left nothing but the end. */
  unknown: z.int(),
});
