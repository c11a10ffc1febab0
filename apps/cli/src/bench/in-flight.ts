/** Does `work` for 0..count-1, at most `concurrency` at a time, until all are done or the signal aborts. Errors are the work's own to catch. */
export async function inFlight(
  count: number,
  concurrency: number,
  signal: AbortSignal,
  work: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count && !signal.aborted) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(count, concurrency) }, worker));
}
