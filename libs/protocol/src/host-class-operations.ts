import { z } from 'zod';
import { GuardAct, PolicyHeld } from './host-classes';
import { operation } from './operation';

/** KV bucket: name of a host class -> HostClass. */
export const HOST_CLASS_BUCKET = { name: 'host-classes' } as const;

/**
 * host -> every controller, after it registered, now and then and after every change; the owner of the host answers. What the host holds is
 * its acknowledgement: the history of the host says from then on that it goes by it. `notFound`: it has not registered.
 */
export const syncHostClass = operation({
  subject: 'volley.v1.hosts.{hostId}.class',
  everyReplica: true,
  request: z.strictObject({ held: PolicyHeld }),
  /** What it is to hold; the same as `held` when nothing is to be done. */
  reply: z.strictObject({ wanted: PolicyHeld }),
  deadlineMs: 5_000,
  summary: 'Compares the policy of a host with that of its class.',
});

/** controller -> host: it is to ask with {@link syncHostClass} now. */
export const hostClassChanged = operation({
  subject: 'volley.v1.hosts.{hostId}.classChanged',
  request: z.strictObject({}),
  reply: z.strictObject({}),
  deadlineMs: 2_000,
  summary: 'Has a host compare its policy with that of its class now.',
});

/** host -> every controller; the owner of the host records it and answers. Repeated by the host until answered. */
export const reportGuardActs = operation({
  subject: 'volley.v1.hosts.{hostId}.guards',
  everyReplica: true,
  request: z.strictObject({
    factId: z.string(),
    acts: z.array(GuardAct).min(1).max(64),
    /** How many more there were that are not told one by one. */
    omitted: z.int().nonnegative(),
  }),
  reply: z.strictObject({ recorded: z.boolean() }),
  deadlineMs: 3_000,
  summary: 'What the guards of a host have done, and why.',
});
