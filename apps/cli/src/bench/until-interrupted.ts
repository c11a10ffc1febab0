import { CliError } from '../errors';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Does a measurement that takes down what it has started when its signal aborts, which a first signal to this process does; a second
 * one ends the process as it is. @throws CliError when it was interrupted, once nothing is left
 */
export async function untilInterrupted<T>(measure: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  const interrupted = (): void => {
    if (abort.signal.aborted) process.exit(130);
    abort.abort();
  };
  for (const signal of SIGNALS) process.on(signal, interrupted);
  try {
    return await measure(abort.signal);
  } catch (error) {
    throw abort.signal.aborted ? new CliError('interrupted: what was started is gone again') : error;
  } finally {
    for (const signal of SIGNALS) process.off(signal, interrupted);
  }
}
