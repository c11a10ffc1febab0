import type { MicrovmTimings, StartTimings } from '#protocol';

/**
 * The timings of a start that has come to its end at `runningAt`, ms since 1970. Written out, not spread, for the reason that
 * `nameLife` gives.
 */
export function startedTimings(
  { requestedAt, acceptedAt, placedAt }: MicrovmTimings,
  { receivedAt, admittedAt, launchedAt, vmmEnteredAt, guestRunAt, guestBootedAt }: StartTimings,
  runningAt: number,
): MicrovmTimings {
  return {
    requestedAt,
    acceptedAt,
    placedAt,
    receivedAt,
    admittedAt,
    launchedAt,
    vmmEnteredAt,
    guestRunAt,
    guestBootedAt,
    runningAt,
  };
}
