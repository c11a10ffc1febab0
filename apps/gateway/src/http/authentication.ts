import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Token } from '#protocol';
import type { Audience, Principal } from '#tenancy';
import type { Principals } from '../tenancy/principals';
import { unauthorized } from './problem';

export interface AuthenticationOptions {
  principals: Principals;
  /** Paths of access `metrics` need no token. */
  metricsOpen: boolean;
}

/** A token that is not good, for the audit. */
export interface RefusedToken {
  why: string;
  token?: Token | undefined;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Whose token it presents; absent on routes that are open to everybody. */
    principal?: Principal;
    /** Why it was not let in. */
    refusedToken?: RefusedToken;
  }
}

/**
 * Lets in whoever may use a route, before a body is read. What is under /v1 needs a token even where there is nothing, so that a
 * stranger learns nothing.
 */
export function requirePrincipal(http: FastifyInstance, { principals, metricsOpen }: AuthenticationOptions): void {
  http.addHook('onRequest', (request, _reply, done) => {
    const needed = neededFor(request, metricsOpen);
    if (needed === 'nothing') return done();
    try {
      request.principal = authenticated(principals, bearerOf(request), request);
      principals.admit(request.principal, needed === 'any' ? undefined : needed);
    } catch (error) {
      return done(error as Error);
    }
    done();
  });
}

/** @throws ProblemError 401; `refused` gets to know why. */
export function authenticated(
  principals: Principals,
  secret: string | undefined | null,
  refused: { refusedToken?: RefusedToken },
): Principal {
  if (secret === undefined) {
    refused.refusedToken = { why: 'no token was presented' };
    throw unauthorized('Send a token: Authorization: Bearer TOKEN.', false);
  }
  const presented = secret === null ? ({ refusal: 'unknown' } as const) : principals.present(secret);
  if ('principal' in presented) return presented.principal;
  const { refusal, token } = { token: undefined, ...presented };
  refused.refusedToken = { why: `the token is ${refusal}`, token };
  // The same words for all: whoever found a token learns nothing about it.
  throw unauthorized('The token is not, or not any more, a token of this fleet.', true);
}

/** Undefined: there is none. Null: what is there is no bearer token. */
function bearerOf({ headers }: FastifyRequest): string | undefined | null {
  if (headers.authorization === undefined) return undefined;
  return /^Bearer +(\S+) *$/i.exec(headers.authorization)?.[1] ?? null;
}

/** `any`: a good token, whosever it is. */
function neededFor(request: FastifyRequest, metricsOpen: boolean): Audience | 'any' | 'nothing' {
  const access = request.routeOptions.config.definition?.access;
  if (access === undefined) return request.url.startsWith('/v1') ? 'any' : 'nothing';
  if (access === 'metrics') return metricsOpen ? 'nothing' : 'fleet';
  return access === 'open' ? 'nothing' : access;
}
