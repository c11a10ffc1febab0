import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** Resolves when something accepts connections there; rejects when the signal aborts. */
export async function tcpReady(host: string, port: number, signal: AbortSignal): Promise<void> {
  while (!(await accepts(host, port))) await pause(20, undefined, { signal });
}

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 1_000 });
    const answer = (yes: boolean): void => {
      socket.destroy();
      resolve(yes);
    };
    socket.once('connect', () => answer(true));
    socket.once('timeout', () => answer(false));
    socket.once('error', () => answer(false));
  });
}
