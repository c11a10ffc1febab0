import { z } from 'zod';
import { HostId } from './ids';
import { operation, type Operation } from './operation';
import { createMicrovm, startMicrovm } from './operator-operations';

/** Of a start that nobody asked for: a suspended one was woken by this host. */
export const Woken = z.strictObject({ hostId: HostId, reason: z.string() });

/** The same exchange, with one controller by name. */
function withOwner<O extends Operation>({ request, reply, deadlineMs }: O, name: string, summary: string) {
  return operation<O['request'], O['reply']>({
    subject: `volley.v1.controllers.{controllerId}.${name}`,
    request,
    reply,
    deadlineMs,
    summary,
  });
}

// What adds to a tenant's quotas is decided by the owner of the tenant's partition: only one who decides all of it can count it
// exactly. `unavailable`: it is not the owner (any more); ask again.
export const createAtOwner = withOwner(
  createMicrovm,
  'create',
  'A create of a tenant with quotas, handed to the controller that counts them.',
);
export const startAtOwner = withOwner(
  { ...startMicrovm, request: z.strictObject({ ...startMicrovm.request.shape, woken: Woken.optional() }) },
  'start',
  'A start of a microVM of a tenant with quotas, handed to the controller that counts them.',
);

export const controllerVitals = operation({
  subject: 'volley.v1.controllers.{controllerId}.vitals',
  /** collect: garbage is collected before, so that what is counted is held; takes tenths of a second, in which nothing else happens. */
  request: z.strictObject({ collect: z.boolean().default(false) }),
  reply: z.strictObject({
    id: z.string(),
    /** Partitions whose effects, timers and leases are this controller's. */
    partitions: z.int(),
    /** Living microVMs that it holds folded. */
    microvms: z.int(),
    heapUsedBytes: z.int(),
    residentBytes: z.int(),
  }),
  deadlineMs: 10_000,
  summary: 'What one controller looks after, and the memory it takes.',
});
