/** One turn of the event loop: what is due by then has happened. */
export const tick = (): Promise<void> => new Promise(setImmediate);

/** Looks every turn of the event loop whether it is so; `what` is said of what never comes. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never: ${what}`);
    await tick();
  }
}
