import type { ServerResponse } from 'node:http';

/**
 * Fires when the client has gone before it was answered whole; also when it went while whoever asks was busy with something else, and
 * `close` is over.
 */
export function clientGone(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  const look = (): void => {
    if (!response.writableFinished) gone.abort(new Error('the client has gone'));
  };
  if (response.closed) look();
  else response.once('close', look);
  return gone.signal;
}
