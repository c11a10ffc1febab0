import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { WebSocket } from 'ws';
import { CliError } from '../errors';
import { textOf } from '../rest/http-exchange';
import { problemIn } from '../rest/problem-in';
import type { RestClient } from '../rest/rest-client';
import { RestError } from '../rest/rest-error';

const HANDSHAKE_MS = 15_000;

/**
 * Opens a WebSocket of the API. It is paused: the other side may speak first, and what it says waits until somebody listens and
 * resumes it. @throws RestError when it is refused, CliError when nothing answers.
 */
export async function openWebSocket(
  client: RestClient,
  path: string,
  query: Record<string, string> = {},
): Promise<WebSocket> {
  const { url, headers, ca } = client.webSocket(path, query);
  const ws = await import('ws'); // only here: other commands start faster without
  const socket = new ws.WebSocket(url, ['volley.v1'], {
    headers,
    ca,
    handshakeTimeout: HANDSHAKE_MS,
    perMessageDeflate: false,
  });
  // In the event itself: whoever awaits this function runs later, and messages that nobody listens to are lost.
  socket.once('open', () => {
    socket.pause();
    socket.on('error', () => undefined); // closes it
  });
  const refused = new Promise<never>((_, reject) => {
    socket.once('unexpected-response', (_request, response: IncomingMessage) => {
      const status = response.statusCode ?? 0;
      textOf(response).then(
        (text) => reject(new RestError(status, problemIn(text, status))),
        () => reject(new CliError(`${url} answered ${status}`)),
      );
    });
  });
  try {
    await Promise.race([once(socket, 'open'), refused]);
  } catch (error) {
    refused.catch(() => undefined);
    if (error instanceof CliError) throw error;
    throw client.unreachable(error);
  }
  refused.catch(() => undefined);
  return socket;
}
