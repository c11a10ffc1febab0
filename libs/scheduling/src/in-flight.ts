import type { Demand } from './demand';

/** Placed on a host, and not yet in what the host reports. */
export interface InFlight {
  microvmId: string;
  demand: Demand;
  /** When it was placed, ms since 1970. */
  at: number;
  /** For how long it is kept unless its host answers for it before, ms. */
  keepMs?: number | undefined;
}

/**
 * A placement that its host has not answered for within this time counts no longer: the start was never sent, or the report
 * that told of it was lost and the next one has it in its sums.
 */
export const IN_FLIGHT_MS = 5_000;
/** The same where a host's reports do not name what they contain: more than a start command takes when all is well. */
const UNNAMED_MS = 500;

/**
 * Those that a report at `now` (ms since 1970) does not contain yet. `answered`: the microVMs of which it says that their start was
 * admitted or refused; undefined of a host whose reports name nobody.
 */
export function stillInFlight(
  inFlight: readonly InFlight[],
  answered: readonly string[] | undefined,
  now: number,
): InFlight[] {
  if (inFlight.length === 0) return [];
  if (!answered) return inFlight.filter(({ at, keepMs = UNNAMED_MS }) => now - at < keepMs);
  const named = new Set(answered);
  return inFlight.filter(({ microvmId, at, keepMs = IN_FLIGHT_MS }) => !named.has(microvmId) && now - at < keepMs);
}
