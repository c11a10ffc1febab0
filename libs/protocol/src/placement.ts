import { z } from 'zod';
import { HostId, TenantId } from './ids';
import { Instant } from './microvm-events';
import { MicrovmClass } from './microvm-spec';
import { PlacementRules } from './placement-rules';
import { SnapshotPlatform } from './snapshot-platform';
import { TemplatePlaces } from './templates';
import { Coresidency } from './tenants';

/** The explanation of one placement decision: every host with the verdict of every filter, and the scores of those compared. */
export const Receipt = z.strictObject({
  id: z.string(),
  /** Empty in a dry run, as is what follows from a microVM's history. */
  microvmId: z.string(),
  epoch: z.int().positive(),
  at: Instant,
  /** What was asked for. */
  demand: z.strictObject({
    image: z.string(),
    class: MicrovmClass.optional(),
    vcpus: z.int(),
    memoryMiB: z.int(),
    tenant: z.string(),
    excluded: z.array(HostId),
    placement: PlacementRules.optional(),
  }),
  /** The chosen host, or null with the reason. */
  hostId: HostId.nullable(),
  reason: z.string(),
  hosts: z.array(
    z.strictObject({
      hostId: HostId,
      /** `filtered`: a filter refused it; `eligible`: passed but was not sampled; `scored`: sampled, lost; `chosen`. */
      verdict: z.enum(['filtered', 'eligible', 'scored', 'chosen']),
      filters: z.array(z.strictObject({ name: z.string(), passed: z.boolean(), detail: z.string() })),
      scores: z.array(z.strictObject({ name: z.string(), value: z.number(), weight: z.number() })),
      total: z.number().nullable(),
    }),
  ),
  /** Hosts whose verdicts were left out because they do not fit into one message. */
  omitted: z.int().nonnegative(),
});
export type Receipt = z.infer<typeof Receipt>;

/** What was decided, without the explanation, which is stored under `id`. */
export const Decision = z.strictObject({
  /** Of the receipt. */
  id: z.string(),
  hostId: HostId.nullable(),
  /** Why there is no host; empty where there is one. */
  reason: z.string(),
  at: Instant,
});
export type Decision = z.infer<typeof Decision>;

const Amounts = z.tuple([z.number(), z.number(), z.number()]);
const Load = {
  /** vCPUs and MiB that can still be guaranteed; absent: as much as is free. */
  freeGuaranteed: z.tuple([z.number(), z.number()]).optional(),
  /** Classes that its guards keep out. */
  shutTo: z.array(MicrovmClass).optional(),

  /** Who is there: tenant, number of microVMs, and their rules where they have any. */
  occupants: z.array(z.union([z.tuple([TenantId, z.int()]), z.tuple([TenantId, z.int(), Coresidency])])),
  /** Group and number of microVMs. */
  groups: z.array(z.tuple([z.string(), z.int()])),
};

/** One step of what the placement service knew and did, in order. */
export const PlacementStep = z.discriminatedUnion('do', [
  /** A host appeared, or something of it changed that seldom does. Amounts are slots, vCPUs, MiB. */
  z.strictObject({
    do: z.literal('host'),
    hostId: HostId,
    state: z.string(),
    kvm: z.boolean(),
    linux: z.boolean(),
    network: z.boolean(),
    images: z.array(z.string()).readonly(),
    cachedImages: z.array(z.string()).readonly(),
    labels: z.record(z.string(), z.string()),
    /** Of the snapshots that it restores; absent: it restores none. */
    snapshots: SnapshotPlatform.optional(),
    capacity: Amounts,
    reportedAt: Instant.nullable(),
    free: Amounts,
    pressurePercent: z.number(),
    ...Load,
  }),
  /** A host has reported; what is placed there and not reported yet is taken off. */
  z.strictObject({
    do: z.literal('load'),
    hostId: HostId,
    reportedAt: Instant.nullable(),
    free: Amounts,
    pressurePercent: z.number(),
    ...Load,
  }),
  /** A decision; where there is a host, what was asked for is taken off it. */
  z.strictObject({
    do: z.literal('decide'),
    microvmId: z.string(),
    epoch: z.int().positive(),
    at: Instant,
    /** All the chance there was. */
    seed: z.int().nonnegative(),
    hostId: HostId.nullable(),
    /** As it was asked; the rest of the demand follows from it. */
    image: z.string(),
    rules: PlacementRules.optional(),
    demand: z.strictObject({
      builtinImage: z.string().nullable(),
      imageDigest: z.string().nullable(),
      /** Of a clone: where its template is. */
      template: TemplatePlaces.optional(),
      network: z.boolean(),
      /** Absent: guaranteed. */
      class: MicrovmClass.optional(),
      vcpus: z.int(),
      memoryMiB: z.int(),
      tenant: z.string(),
      coresidency: Coresidency,
      excluded: z.array(HostId).readonly(),
      hostLabels: z.record(z.string(), z.string()),
      affinity: z.array(z.string()).readonly(),
      antiAffinity: z.array(z.string()).readonly(),
      spread: z.array(z.string()).readonly(),
      groups: z.array(z.string()).readonly(),
    }),
  }),
]);
export type PlacementStep = z.infer<typeof PlacementStep>;

/**
 * A message of the receipts' stream: the steps since the one before. Doing all steps from the beginning of a chain gives the
 * hosts as they were at each decision, so that it can be explained with every number. A receipt's id is the stream's sequence
 * of its message and the number of its step in it.
 */
export const ReceiptMessage = z.strictObject({
  /** Version of the scheduler that decided. */
  scheduler: z.int().positive(),
  /** Sequence of the message before; null: the beginning of a chain, which holds every host. */
  previous: z.int().positive().nullable(),
  steps: z.array(PlacementStep).min(1),
});
export type ReceiptMessage = z.infer<typeof ReceiptMessage>;
