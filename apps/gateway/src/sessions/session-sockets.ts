import { STATUS_CODES, type IncomingMessage, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { WebSocketServer } from 'ws';
import { LOGGER, SHUTDOWN } from '#bus';
import { MicrovmId } from '#protocol';
import { invalid } from '../http/invalid';
import { ProblemError, problemOf, unauthorized } from '../http/problem';
import { pathOf, PROBLEM_TYPE } from '../http/problem.filter';
import type { OperatorToken } from '../operator-token';
import { presentedToken, SOCKET_PROTOCOL } from './presented-token';
import type { SessionPlace } from './guest-session';
import { SessionOpener } from './session-opener';
import { SessionSocket } from './session-socket';
import { ConsoleQuery } from './sessions.schemas';

/** A message of input is as large as a client likes up to this; the open request of an exec, too. */
const MAX_MESSAGE = 1024 * 1024;
const GOING_AWAY = 1001;

interface Wanted {
  place: SessionPlace;
  kind: 'exec' | 'console';
  historyBytes: number;
}

/** Takes WebSockets on the HTTP server: `GET /v1/microvms/{id}/exec` and `.../console`. */
@Injectable()
export class SessionSockets {
  readonly #server = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has(SOCKET_PROTOCOL) ? SOCKET_PROTOCOL : false),
  });
  readonly #sockets = new Set<SessionSocket>();

  constructor(
    @Inject(SessionOpener) private readonly opener: SessionOpener,
    @Inject(SHUTDOWN) private readonly shutdown: AbortSignal,
    @Inject(LOGGER) private readonly log: Logger,
  ) {}

  attach(server: Server, token: OperatorToken): void {
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on('error', () => socket.destroy());
      void this.#upgrade(request, socket, head, token);
    });
    this.shutdown.addEventListener(
      'abort',
      () => this.#sockets.forEach((one) => one.close(GOING_AWAY, 'the gateway is shutting down')),
      { once: true },
    );
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, token: OperatorToken): Promise<void> {
    let wanted: Wanted;
    try {
      wanted = await this.#wanted(request, token);
    } catch (error) {
      return refuse(socket, error, pathOf(request.url ?? '/'));
    }
    if (socket.destroyed) return;
    this.#server.handleUpgrade(request, socket, head, (client) => {
      const one = new SessionSocket(client, this.opener, wanted.place, this.log);
      this.#sockets.add(one);
      client.on('close', () => this.#sockets.delete(one));
      if (wanted.kind === 'exec') one.serveExec();
      else void one.serve({ kind: 'console', historyBytes: wanted.historyBytes });
    });
  }

  /** Who may, before what there is: a stranger learns nothing. */
  async #wanted(request: IncomingMessage, token: OperatorToken): Promise<Wanted> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://gateway');
    const presented = presentedToken(request.headers);
    if (presented === undefined) {
      throw unauthorized(
        'Send the operator token: Authorization: Bearer TOKEN, or the protocol volley.bearer.TOKEN.',
        false,
      );
    }
    if (!token.matches(presented)) throw unauthorized('The token is not the operator token of this fleet.', true);
    const [, id, kind] = /^\/v1\/microvms\/([^/]+)\/(exec|console)$/.exec(pathname) ?? [];
    if (id === undefined || !MicrovmId.safeParse(id).success) {
      throw new ProblemError(
        404,
        'notFound',
        `There is no WebSocket at ${pathname}; see /openapi.json for what there is.`,
      );
    }
    const query = kind === 'console' ? ConsoleQuery.safeParse(Object.fromEntries(searchParams)) : undefined;
    if (query && !query.success) {
      throw invalid(query.error.issues.map(({ path, message }) => ({ path: `query.${path.join('.')}`, message })));
    }
    return {
      place: await this.opener.place(id),
      kind: kind as Wanted['kind'],
      historyBytes: query?.data?.historyBytes ?? 4_096,
    };
  }
}

/** Answers in the way of every other route; there is no reply object at this point. */
function refuse(socket: Duplex, error: unknown, path: string): void {
  const { status, headers, body } = problemOf(error, path);
  const text = JSON.stringify(body);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\nContent-Type: ${PROBLEM_TYPE}\r\n` +
      `${lines.join('')}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}
