import { STATUS_CODES, type IncomingMessage, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { WebSocketServer } from 'ws';
import { LOGGER, SHUTDOWN } from '#bus';
import { MicrovmId } from '#protocol';
import { invalid } from '../http/invalid';
import { authenticated, type RefusedToken } from '../http/authentication';
import { ProblemError, problemOf, type ProblemAnswer } from '../http/problem';
import { pathOf, PROBLEM_TYPE } from '../http/problem.filter';
import type { Principal } from '#tenancy';
import { AuditTrail, idsOf } from '../audit/audit-trail';
import { Principals } from '../tenancy/principals';
import { VisibleFleet } from '../tenancy/visible-fleet';
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

/** What is known of a request so far. */
interface Asked {
  who?: Principal;
  refusedToken?: RefusedToken;
  id?: string;
  kind?: Wanted['kind'];
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
    @Inject(Principals) private readonly principals: Principals,
    @Inject(VisibleFleet) private readonly visible: VisibleFleet,
    @Inject(AuditTrail) private readonly audit: AuditTrail,
    @Inject(SHUTDOWN) private readonly shutdown: AbortSignal,
    @Inject(LOGGER) private readonly log: Logger,
  ) {}

  attach(server: Server): void {
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on('error', () => socket.destroy());
      void this.#upgrade(request, socket, head);
    });
    this.shutdown.addEventListener('abort', () => this.#sockets.forEach(leave), { once: true });
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const began = performance.now();
    const asked: Asked = {};
    const path = pathOf(request.url ?? '/');
    const note = (status: number, code?: string): void =>
      this.audit.record({
        ...(asked.who ? { principal: asked.who } : {}),
        ...(asked.refusedToken ? { refusedToken: asked.refusedToken } : {}),
        method: 'GET',
        route: asked.kind && `/v1/microvms/{id}/${asked.kind}`,
        ids: idsOf({ id: asked.id }, {}),
        status,
        code,
        address: request.socket.remoteAddress,
        ms: performance.now() - began,
      });
    let wanted: Wanted;
    try {
      wanted = await this.#wanted(request, asked);
    } catch (error) {
      const view = asked.who && this.visible.viewOf(asked.who);
      const answer = problemOf(view ? view.error(error) : error, path);
      note(answer.status, answer.body.code);
      return refuse(socket, answer);
    }
    if (socket.destroyed) return;
    note(101);
    this.#server.handleUpgrade(request, socket, head, (client) => {
      const one = new SessionSocket(client, this.opener, wanted.place, this.log);
      this.#sockets.add(one);
      client.on('close', () => this.#sockets.delete(one));
      if (this.shutdown.aborted) return leave(one);
      if (wanted.kind === 'exec') one.serveExec();
      else void one.serve({ kind: 'console', historyBytes: wanted.historyBytes });
    });
  }

  /** Who may, before what there is: a stranger learns nothing. */
  async #wanted(request: IncomingMessage, asked: Asked): Promise<Wanted> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://gateway');
    const [, id, kind] = /^\/v1\/microvms\/([^/]+)\/(exec|console)$/.exec(pathname) ?? [];
    Object.assign(asked, { id, kind });
    const who = (asked.who = authenticated(this.principals, presentedToken(request.headers), asked));
    this.principals.admit(who, 'use');
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
      place: await this.opener.place(who, id),
      kind: kind as Wanted['kind'],
      historyBytes: query?.data?.historyBytes ?? 4_096,
    };
  }
}

function leave(one: SessionSocket): void {
  one.close(GOING_AWAY, 'the gateway is shutting down');
}

/** Answers in the way of every other route; there is no reply object at this point. */
function refuse(socket: Duplex, { status, headers, body }: ProblemAnswer): void {
  const text = JSON.stringify(body);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\nContent-Type: ${PROBLEM_TYPE}\r\n` +
      `${lines.join('')}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}
