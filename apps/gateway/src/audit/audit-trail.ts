import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { TokenBucket } from '#concurrency';
import { AuditLog, type Principal } from '#tenancy';
import type { RefusedToken } from '../http/authentication';
import { GatewayMetrics } from '../metrics/gateway-metrics';

/** What is written down of a call, whether it came as HTTP or as a WebSocket. */
export interface Called {
  principal?: Principal;
  refusedToken?: RefusedToken;
  method: string;
  /** Template of its route; undefined: there is none. */
  route: string | undefined;
  ids: Record<string, string>;
  status: number;
  code: string | undefined;
  address: string | undefined;
  ms: number;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Code of the error it was answered with. */
    problemCode?: string;
    /** It is in the audit already. */
    audited?: boolean;
  }
}

/** Parameters of a query that name something. */
const NAMING = ['microvm', 'tenant', 'host', 'token'] as const;
const LONGEST_ID = 255;
/** Strangers per second that are written down; more of them would drive out what is worth knowing. */
const STRANGERS_PER_SECOND = 50;

/** Writes every call of the API down, and every token that is not good. */
@Injectable()
export class AuditTrail implements OnModuleDestroy {
  readonly #strangers = new TokenBucket(STRANGERS_PER_SECOND, performance.now());

  constructor(
    @Inject(AuditLog) private readonly log: AuditLog,
    @Inject(GatewayMetrics) private readonly metrics: GatewayMetrics,
  ) {}

  async onModuleDestroy(): Promise<void> {
    await this.log.close();
  }

  observe(http: FastifyInstance): void {
    http.addHook('onResponse', (request, reply, done) => {
      if (!request.audited && isCall(request)) this.record(calledOf(request, reply));
      done();
    });
  }

  /** A call whose answer has only begun and may take days. */
  begun(request: FastifyRequest, reply: FastifyReply, status: number): void {
    request.audited = true;
    this.record({ ...calledOf(request, reply), status });
  }

  record({ principal, refusedToken, method, route, ids, status, code, address, ms }: Called): void {
    const token = refusedToken?.token;
    // A flood of strangers says no more than its beginning; whoever had a token once is always named.
    if (refusedToken && !token && this.#strangers.take(performance.now()) > 0) return this.metrics.auditDropped.inc();
    const { tokenId, name, role, tenant } = principal ?? {
      tokenId: token?.id ?? null,
      name: token?.name ?? null,
      role: token?.role ?? null,
      tenant: token?.tenant ?? null,
    };
    this.log.record({
      event: refusedToken ? 'refusedAuthentication' : 'call',
      tokenId,
      name,
      role,
      tenant,
      method,
      ...(route === undefined ? {} : { route }),
      ids,
      status,
      ...(code === undefined ? {} : { code }),
      ...(address === undefined ? {} : { address }),
      ms: Math.round(ms * 1000) / 1000,
      ...(refusedToken ? { detail: refusedToken.why } : {}),
    });
  }
}

/** What is open to everybody (health, the page itself) is no call of the API. */
function isCall({ principal, refusedToken }: FastifyRequest): boolean {
  return principal !== undefined || refusedToken !== undefined;
}

function calledOf(request: FastifyRequest, reply: FastifyReply): Called {
  const { principal, refusedToken, problemCode: code } = request;
  return {
    ...(principal ? { principal } : {}),
    ...(refusedToken ? { refusedToken } : {}),
    method: request.method,
    route: request.routeOptions.config.definition?.path,
    ids: idsOf(request.params, request.query, reply.getHeader('location')),
    status: reply.statusCode,
    code,
    address: request.socket.remoteAddress,
    ms: reply.elapsedTime,
  };
}

/** What a call names: the places of its path, some of its query, and what it made. */
export function idsOf(params: unknown, query: unknown, location?: unknown): Record<string, string> {
  const ids: Record<string, string> = {};
  const note = (name: string, value: unknown): void => {
    if (typeof value === 'string' && value !== '') ids[name] = value.slice(0, LONGEST_ID);
  };
  for (const [name, value] of Object.entries((params ?? {}) as object)) if (name !== '*') note(name, value);
  for (const name of NAMING) note(name, ((query ?? {}) as Record<string, unknown>)[name]);
  if (typeof location === 'string') note('made', location.slice(location.lastIndexOf('/') + 1));
  return ids;
}
