/** Thrown by {@link until} when its time is up. */
export class NotInTimeError extends Error {
  override readonly name = 'NotInTimeError';
}

const PERIOD_MS = 50;

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks until it is so; for what has no event to wait for. An error counts as "not yet". @throws NotInTimeError */
export async function until(what: string, holds: () => boolean | Promise<boolean>, ms: number): Promise<void> {
  let last: unknown;
  for (const end = performance.now() + ms; ; await sleep(PERIOD_MS)) {
    try {
      if (await holds()) return;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end)
      throw new NotInTimeError(`not within ${ms} ms: ${what}${last ? ` (${String(last)})` : ''}`);
  }
}
