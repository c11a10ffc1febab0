import { z } from 'zod';
import { HostId } from './ids';
import { Cause, Instant } from './microvm-events';

export const HOST_STATES = ['joining', 'ready', 'cordoned', 'unreachable', 'lost', 'retired'] as const;
export const HostStateName = z.enum(HOST_STATES);
export type HostStateName = z.infer<typeof HostStateName>;

/** What a host is and offers; sent when its agent registers. */
export const HostDescription = z.strictObject({
  hostId: HostId,
  hostname: z.string(),
  kernel: z.string(),
  agentVersion: z.string(),
  bootId: z.string(),
  kvm: z.strictObject({
    available: z.boolean(),
    kind: z.enum(['hardware', 'software']).optional(),
    reason: z.string().optional(),
  }),
  cpus: z.int().positive(),
  memoryMiB: z.int().positive(),
  /** Kept back for the host itself, in MiB. */
  reserveMiB: z.int().nonnegative(),
  slots: z.int().positive(),
  overcommit: z.strictObject({ cpu: z.number().positive(), memory: z.number().positive() }),
  /** Built-in images that this host has. */
  images: z.array(z.string()),
  /** Whether it boots stock Linux kernels, and so imported images; else why not. Absent in records of older agents: it does not. */
  linux: z.strictObject({ available: z.boolean(), reason: z.string().optional() }).optional(),
  /** Barriers of the jail that every VMM is put in, and what keeps the others away. */
  jail: z
    .strictObject({
      barriers: z.array(z.string()),
      missing: z.array(z.strictObject({ name: z.string(), reason: z.string() })),
    })
    .optional(),
  /** Whether microVMs can have network devices here. */
  network: z
    .strictObject({ available: z.boolean(), pool: z.string().optional(), reason: z.string().optional() })
    .optional(),
  labels: z.record(z.string(), z.string()),
});
export type HostDescription = z.infer<typeof HostDescription>;

export const HostEvent = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('registered'), description: HostDescription }),
  z.strictObject({ type: z.literal('admitted') }),
  z.strictObject({ type: z.literal('leaseExpired') }),
  z.strictObject({ type: z.literal('cordonRequested') }),
  z.strictObject({ type: z.literal('uncordonRequested') }),
  z.strictObject({ type: z.literal('retireRequested') }),
  z.strictObject({ type: z.literal('deadlinePassed'), timer: z.string() }),
]);
export type HostEvent = z.infer<typeof HostEvent>;

export const HostRecord = z.strictObject({
  machine: z.int().positive(),
  hostId: HostId,
  commandId: z.string(),
  cause: Cause,
  at: Instant,
  from: HostStateName.nullable(),
  to: HostStateName,
  events: z.array(HostEvent).min(1),
});
export type HostRecord = z.infer<typeof HostRecord>;

/** A host as every reader sees it. */
export const Host = z.strictObject({
  id: HostId,
  state: HostStateName,
  description: HostDescription,
  /** ISO 8601. */
  createdAt: z.string(),
  updatedAt: z.string(),
  revision: z.int(),
});
export type Host = z.infer<typeof Host>;
