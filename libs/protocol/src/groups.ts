import { z } from 'zod';
import { TenantId } from './ids';
import { Cause, Instant } from './microvm-events';
import { MicrovmSpec } from './microvm-spec';

/** Label of every member, with the name of its group. */
export const GROUP_LABEL = 'volley.group';

/** Unique among the groups of a tenant. */
export const GroupName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "must be 1..63 lower-case letters, digits or '-'");

/** `TENANT_NAME`; neither of them has a `_`. */
export const GroupId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}_[a-z0-9][a-z0-9-]{0,62}$/, 'must be TENANT_NAME, the id of a group');
export const groupIdOf = (tenant: string, name: string): string => `${tenant}_${name}`;

/** What a group would have to work against, or could never delete. */
const NOT_OF_MEMBERS = ['schedule', 'idleStop', 'deleteProtection'] as const;

/** What every member of a group is made from. */
export const GroupMemberSpec = MicrovmSpec.superRefine((spec, context) => {
  for (const field of NOT_OF_MEMBERS) {
    if (spec[field] === undefined) continue;
    const message = 'means nothing here: a group keeps its members running, and replaces them; leave it out';
    context.addIssue({ code: 'custom', path: [field], message });
  }
});

const Replicas = z.int().min(0).max(1_000);
/** How many members more than wanted a replacement may have at a time, and how many fewer may be available. */
const Rollout = {
  maxSurge: z.int().min(0).max(1_000).optional(),
  maxUnavailable: z.int().min(0).max(1_000).optional(),
};

export const GroupCreate = z.strictObject({
  name: GroupName,
  replicas: Replicas,
  /** Its tenant is the owner of the group. */
  spec: GroupMemberSpec,
  ...Rollout,
});
export type GroupCreate = z.output<typeof GroupCreate>;
export const GroupScale = z.strictObject({ replicas: Replicas });
export const GroupReplace = z.strictObject({ spec: GroupMemberSpec, ...Rollout });

export const GROUP_STATES = ['active', 'deleting', 'deleted'] as const;
export const GroupStateName = z.enum(GROUP_STATES);
export type GroupStateName = z.infer<typeof GroupStateName>;

const event = <T extends string, S extends z.ZodRawShape>(type: T, shape: S) =>
  z.strictObject({ type: z.literal(type), ...shape });
const version = { spec: MicrovmSpec, specHash: z.string(), maxSurge: z.int(), maxUnavailable: z.int() };
const member = { microvmId: z.string(), reason: z.string() };

/** Every fact a group's history can hold. What it decides about members it decides here first; then it is done. */
export const GroupEvent = z.discriminatedUnion('type', [
  event('created', { tenant: TenantId, name: GroupName, replicas: z.int(), ...version }),
  event('scaled', { replicas: z.int() }),
  event('specReplaced', version),
  event('deleteRequested', {}),
  /** This microVM is a member from now on; it is created next. */
  event('memberAdded', { ...member, specRevision: z.int(), specHash: z.string() }),
  /** It could not be created yet. */
  event('memberWaits', member),
  /** It ran for the first time. */
  event('memberReady', { microvmId: z.string() }),
  /** It is no use to the group any more; it is deleted next. ranMs: how long it ran, when it has ended by itself. */
  event('memberRetired', { ...member, failed: z.boolean(), ranMs: z.number().nullable() }),
  event('memberGone', member),
  event('rolloutHalted', { reason: z.string() }),
  event('rolloutFinished', {}),
  event('deleted', {}),
]);
export type GroupEvent = z.infer<typeof GroupEvent>;

/** One message of a group's history. */
export const GroupRecord = z.strictObject({
  /** Version of the rules that accepted it. */
  machine: z.int().positive(),
  groupId: z.string(),
  commandId: z.string(),
  cause: Cause,
  at: Instant,
  from: GroupStateName.nullable(),
  to: GroupStateName,
  events: z.array(GroupEvent).min(1),
});
export type GroupRecord = z.infer<typeof GroupRecord>;

/** A group as readers of a list see it. */
export const GroupSummary = z.strictObject({
  id: z.string(),
  tenant: z.string(),
  name: z.string(),
  state: GroupStateName,
  replicas: z.int(),
  maxSurge: z.int(),
  maxUnavailable: z.int(),
  image: z.string(),
  /** Grows with every replacement of the spec. */
  specRevision: z.int(),
  /** `rolling`: members of other specs are being replaced. `halted`: new ones failed; the reason says how to go on. */
  rollout: z.strictObject({ state: z.enum(['done', 'rolling', 'halted']), reason: z.string().nullable() }),
  counts: z.strictObject({
    /** Of the wanted spec. */
    current: z.int(),
    /** Of other specs. */
    outdated: z.int(),
    /** Ran at least once and are not leaving. */
    ready: z.int(),
    leaving: z.int(),
  }),
  /** ISO 8601. */
  createdAt: z.string(),
  updatedAt: z.string(),
  revision: z.int(),
});
export type GroupSummary = z.infer<typeof GroupSummary>;

export const Group = z.strictObject({
  ...GroupSummary.shape,
  spec: MicrovmSpec,
  members: z.array(
    z.strictObject({
      microvmId: z.string(),
      specRevision: z.int(),
      state: z.enum(['coming', 'ready', 'leaving']),
      reason: z.string().nullable(),
    }),
  ),
});
export type Group = z.infer<typeof Group>;

export const GroupHistoryEntry = z.strictObject({
  sequence: z.int(),
  at: z.string(),
  commandId: z.string(),
  cause: z.strictObject({ kind: z.string(), by: z.string() }),
  events: z.array(z.looseObject({ type: z.string() })),
});
export type GroupHistoryEntry = z.infer<typeof GroupHistoryEntry>;
