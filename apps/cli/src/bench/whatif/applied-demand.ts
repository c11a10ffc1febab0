import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { BusClient } from '#bus';
import type { Arrival } from '#chaos';
import type { FleetView } from '#fleet';
import { createMicrovm, deleteMicrovm, OperationError, sortableId, type Microvm } from '#protocol';

/** What became of the creates of a load. */
export interface Applied {
  /** ms since 1970: before the first was asked for, and after the last had ended. */
  from: number;
  to: number;
  placed: number;
  /** No host could take them, at once or in time. */
  refused: number;
  /** Their time to live was over before any host could. */
  expired: number;
  /** Turned away before they were on record; by error code. Anything but none makes the run worthless. */
  turnedAway: Record<string, number>;
}

/** Beyond the time that a create may wait. */
const ANSWER_MS = 60_000;

/** Both may be asked again: on a machine with other things to do an answer may take seconds. */
const PATIENTLY = { deadlineMs: 30_000, repeatAfterMs: 2_000 };

/** Creates what a load says when it says so, whatever became of those before, and ends them when they have lived. */
export async function applyDemand(
  bus: BusClient,
  view: FleetView,
  demand: readonly Arrival[],
  waitSeconds: number,
): Promise<Applied> {
  const applied: Applied = { from: Date.now(), to: 0, placed: 0, refused: 0, expired: 0, turnedAway: {} };
  const beganMs = performance.now();
  const lives = demand.map(async (arrival) => {
    await pause(arrival.atMs - (performance.now() - beganMs));
    try {
      await live(bus, view, arrival, waitSeconds, applied);
    } catch (error) {
      const code = error instanceof OperationError ? error.code : String(error);
      applied.turnedAway[code] = (applied.turnedAway[code] ?? 0) + 1;
    }
  });
  await Promise.all(lives);
  applied.to = Date.now();
  return applied;
}

async function live(
  bus: BusClient,
  view: FleetView,
  { tenant, memoryMiB, ttlSeconds, deleteAfterMs }: Arrival,
  waitSeconds: number,
  applied: Applied,
): Promise<void> {
  const id = sortableId(Date.now(), randomBytes(10));
  const spec = { image: 'canary', tenant, memoryMiB, waitSeconds, ...(ttlSeconds === undefined ? {} : { ttlSeconds }) };
  await bus.call(createMicrovm, { spec, id, requestedAt: Date.now() }, PATIENTLY);
  const ends = ({ state, hostId }: Microvm): boolean => hostId !== null || state === 'failed' || state === 'deleted';
  const decided = await view.waitForMicrovm(id, ends, waitSeconds * 1_000 + ANSWER_MS);
  if (!decided) throw new Error('undecided');
  if (decided.hostId === null) applied[decided.state === 'failed' ? 'refused' : 'expired']++;
  else applied.placed++;
  if (decided.hostId !== null && deleteAfterMs !== undefined) await pause(deleteAfterMs);
  const stays = decided.hostId !== null && deleteAfterMs === undefined;
  if (!stays && decided.state !== 'deleted') await bus.call(deleteMicrovm, { id }, PATIENTLY);
  const gone = ({ state }: Microvm): boolean => state === 'deleted';
  if (!(await view.waitForMicrovm(id, gone, (ttlSeconds ?? 0) * 1_000 + ANSWER_MS))) throw new Error('not deleted');
}
