import type { Exit, MicrovmEvent, MicrovmSpec } from '#protocol';

/**
 * Version of the microVM's machine: raised whenever events come to mean something else than before, or new ones are added. A record
 * carries the version that accepted it and is folded by that version for ever: a guard whose meaning has changed asks the event's `machine`. While
 * controllers of several versions share a fleet, all of them accept by the oldest, so that each can read what the others write.
 */
export const MICROVM_MACHINE_VERSION = 3;

/** Added after version 1. */
const EVENTS: Partial<Record<MicrovmEvent['type'], number>> = {
  tuned: 2,
  placementWaits: 2,
  protectionSet: 2,
  moveRequested: 2,
  snapshotRequested: 3,
  suspendRequested: 3,
  restoreRequested: 3,
  snapshotTaken: 3,
  suspended: 3,
};
const EXITS: Partial<Record<Exit['reason'], number>> = { fenced: 2, hostRestarted: 2, expired: 2, idle: 2, evicted: 3 };
const SPEC_FIELDS: Partial<Record<keyof MicrovmSpec, number>> = {
  waitSeconds: 2,
  placement: 2,
  idleStop: 2,
  schedule: 2,
  stopTimeoutSeconds: 2,
  deleteProtection: 2,
  maxRestarts: 2,
  class: 3,
  template: 3,
};

/** Oldest version of the machine that can read these events. */
export function oldestReader(events: readonly MicrovmEvent[]): number {
  return Math.max(1, ...events.map(readerOf));
}

function readerOf(event: MicrovmEvent): number {
  const own = EVENTS[event.type] ?? 1;
  if (event.type === 'exited') return Math.max(own, EXITS[event.exit.reason] ?? 1);
  if (event.type === 'observed' && event.as === 'suspended') return 3;
  if (event.type === 'tuned') return event.reason === undefined ? own : 3;
  if (event.type !== 'requested') return own;
  if (event.spec.idleStop?.action !== undefined) return 3;
  const fields = Object.keys(event.spec) as (keyof MicrovmSpec)[];
  return Math.max(own, ...fields.map((field) => SPEC_FIELDS[field] ?? 1));
}
