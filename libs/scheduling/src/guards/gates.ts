import type { GuardLimits, Guards, MicrovmClass } from '#protocol';
import { isCalm, tripOf, type GuardReading } from './readings';

export const CLASSES: readonly MicrovmClass[] = ['guaranteed', 'bestEffort'];

/**
 * When nobody says otherwise. CPU can be shared in any parts and the guaranteed come first, so only their waiting counts: that somebody
 * waits, which is CPU pressure, is what best effort is for. Memory cannot, so before it is short nothing more is let in, best effort
 * earlier than the others.
 */
export const DEFAULT_GUARDS: Record<MicrovmClass, GuardLimits> = {
  guaranteed: {
    memoryPressure: { shut: 20, open: 5 },
    availableMemory: { shut: 4, open: 6 },
  },
  bestEffort: {
    memoryPressure: { shut: 5, open: 1 },
    // Best effort leaves a CPU to them at once, so it is seldom the cause; above 10 % practice calls CPU ready time bad.
    vcpuWait: { shut: 10, open: 5 },
    availableMemory: { shut: 12, open: 15 },
  },
};

/** A gate opens when its guards have been calm for so long, ms. */
export const CALM_MS = 3_000;

/** Of one class: whether it is admitted. */
export interface Gate {
  open: boolean;
  /** Why not. */
  reason?: string;
  /** Since when its guards are calm, ms; only while it is shut. */
  calmSinceMs?: number;
}
export type Gates = Record<MicrovmClass, Gate>;
export const OPEN_GATES: Gates = { guaranteed: { open: true }, bestEffort: { open: true } };

/** The gates after a reading at `atMs` of a steady clock. The same object for a class whose gate is as it was. */
export function gatesAfter(gates: Gates, reading: GuardReading, atMs: number, guards: Guards = {}): Gates {
  const next = { ...gates };
  for (const one of CLASSES) next[one] = gateAfter(gates[one], reading, atMs, guards[one] ?? DEFAULT_GUARDS[one]);
  return next;
}

function gateAfter(gate: Gate, reading: GuardReading, atMs: number, limits: GuardLimits): Gate {
  const trip = tripOf(reading, limits);
  if (gate.open) return trip === undefined ? gate : { open: false, reason: trip };
  if (!isCalm(reading, limits)) {
    // The reason stays what shut it: the numbers of that moment are what an operator asks for.
    return gate.calmSinceMs === undefined ? gate : { open: false, ...(gate.reason ? { reason: gate.reason } : {}) };
  }
  const { calmSinceMs = atMs } = gate;
  return atMs - calmSinceMs >= CALM_MS ? { open: true } : { ...gate, calmSinceMs };
}
