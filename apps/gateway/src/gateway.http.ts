import type { Server } from 'node:http';
import type { INestApplication } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { AuditTrail } from './audit/audit-trail';
import { acceptJsonOnly, BODY_LIMIT } from './http/body-parser';
import { requirePrincipal } from './http/authentication';
import { answerClientError } from './http/client-errors';
import { problemOf } from './http/problem';
import type { TlsFiles } from './http/tls-files';
import { pathOf, ProblemFilter, PROBLEM_TYPE } from './http/problem.filter';
import type { GatewayMetrics } from './metrics/gateway-metrics';
import { ROUTES } from './routes';
import { SessionSockets } from './sessions/session-sockets';
import { Principals } from './tenancy/principals';
import { VisibleFleet } from './tenancy/visible-fleet';

/** Longer than this nothing is kept of an upload anyway. */
const UPLOAD_MS = 3_600_000;

/** Leaves the parsers alone that {@link acceptJsonOnly} sets. */
class GatewayAdapter extends FastifyAdapter {
  override registerParserMiddleware(): void {}
}

/** Fastify with bounds on everything a client sends; encrypted when there is something to encrypt with. */
export function gatewayAdapter(tls?: TlsFiles): FastifyAdapter {
  const server = { headersTimeout: 30_000 };
  return new GatewayAdapter({
    ...(tls ? { https: { ...tls, ...server } } : { http: server }),
    bodyLimit: BODY_LIMIT,
    // How long a request may take to arrive: a file that is uploaded. What is no file has less, and answers may take longer.
    requestTimeout: UPLOAD_MS,
    keepAliveTimeout: 60_000,
    routerOptions: { maxParamLength: 512 },
    // Requests on open connections are still answered while we leave, and their connections closed with the answer.
    return503OnClosing: false,
    clientErrorHandler: answerClientError,
    frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) => {
      const { status, headers, body } = problemOf(error, pathOf(request.url));
      void reply.status(status).headers(headers).type(PROBLEM_TYPE).send(JSON.stringify(body));
    },
  });
}

export interface HttpOptions {
  /** Paths of access `metrics` need no token. */
  metricsOpen: boolean;
  logger: Logger;
  metrics: GatewayMetrics;
  shutdown: AbortSignal;
}

/** Everything around the routes, in the order in which a request meets it. */
export function configureHttp(app: INestApplication, options: HttpOptions): void {
  const adapter = app.getHttpAdapter() as unknown as FastifyAdapter;
  const http = adapter.getInstance<FastifyInstance>();
  options.metrics.observe(http);
  const principals = app.get(Principals);
  requirePrincipal(http, { principals, metricsOpen: options.metricsOpen });
  app.get(AuditTrail).observe(http);
  acceptJsonOnly(http);
  http.addHook('onSend', (_request, reply, payload, done) => {
    if (options.shutdown.aborted) reply.header('connection', 'close');
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store');
    done(null, payload);
  });
  app.get(SessionSockets).attach(app.getHttpServer() as Server);
  app.useGlobalFilters(new ProblemFilter(ROUTES, app.get(VisibleFleet), options.logger));
}
