import { operation, type Operation } from './operation';
import { createMicrovm, startMicrovm } from './operator-operations';

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
  startMicrovm,
  'start',
  'A start of a microVM of a tenant with quotas, handed to the controller that counts them.',
);
