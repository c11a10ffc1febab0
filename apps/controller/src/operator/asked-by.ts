import { randomUUID } from 'node:crypto';
import type { Cause } from '#protocol';

/** Names a command of an operator and who asks, as histories keep it. A command without a name of its own gets one. */
export function askedBy({
  commandId = randomUUID(),
  by = 'operator',
}: {
  commandId?: string | undefined;
  by?: string | undefined;
}): { commandId: string; cause: Cause } {
  return { commandId, cause: { kind: 'operator', by } };
}
