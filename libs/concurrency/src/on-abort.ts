/**
 * Acts when the signal fires, and at once when it has fired already: a listener that comes too late is never called. Returns the way to
 * stop waiting for it.
 */
export function onAbort(signal: AbortSignal, act: () => void): () => void {
  if (signal.aborted) {
    act();
    return () => undefined;
  }
  signal.addEventListener('abort', act, { once: true });
  return () => signal.removeEventListener('abort', act);
}
