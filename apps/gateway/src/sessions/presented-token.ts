import type { IncomingHttpHeaders } from 'node:http';

/** The name of what is spoken on a WebSocket; a client offers it, and the gateway answers it. */
export const SOCKET_PROTOCOL = 'volley.v1';
const BEARER = 'volley.bearer.';

/**
 * The token that a WebSocket's request presents: in its Authorization header or, since a browser cannot set that, as a further
 * protocol that it offers: `volley.bearer.` and the token in base64url. The gateway never answers that protocol.
 */
export function presentedToken(headers: IncomingHttpHeaders): string | undefined {
  if (headers.authorization !== undefined) return /^Bearer +(\S+) *$/i.exec(headers.authorization)?.[1];
  const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((one) => one.trim());
  const bearer = offered.find((one) => one.startsWith(BEARER));
  return bearer === undefined ? undefined : Buffer.from(bearer.slice(BEARER.length), 'base64url').toString('utf8');
}
