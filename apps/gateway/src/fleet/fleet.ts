import type { FleetView } from '#fleet';

/** Injects the fleet, folded in this process. */
export const FLEET = Symbol('volley.gateway.fleet');
export type Fleet = FleetView;

/** How long an answer waits for this process to have seen what it answers; after that it is given anyway. */
const READ_YOUR_WRITES_MS = 250;

/** Lets this process see a record before its writer is told of it, so that the writer's next read shows it. */
export async function seen(fleet: Fleet, sequence: number): Promise<void> {
  if (sequence <= fleet.position) return;
  await fleet.waitForMicrovmSequence(sequence, READ_YOUR_WRITES_MS).catch(() => undefined);
}
