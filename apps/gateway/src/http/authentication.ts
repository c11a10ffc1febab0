import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { OperatorToken } from '../operator-token';
import { unauthorized } from './problem';

export interface AuthenticationOptions {
  token: OperatorToken;
  /** Paths of access `metrics` need no token. */
  metricsOpen: boolean;
}

/**
 * Lets only the operator in, before a body is read. What is under /v1 needs the token even where there is nothing, so that a
 * stranger learns nothing.
 */
export function requireOperator(http: FastifyInstance, { token, metricsOpen }: AuthenticationOptions): void {
  http.addHook('onRequest', (request, _reply, done) => {
    if (!needsToken(request, metricsOpen)) return done();
    const header = request.headers.authorization;
    if (header === undefined) {
      return done(unauthorized('Send the operator token: Authorization: Bearer TOKEN.', false));
    }
    const presented = /^Bearer +(\S+) *$/i.exec(header)?.[1];
    if (presented === undefined || !token.matches(presented)) {
      return done(unauthorized('The token is not the operator token of this fleet.', true));
    }
    done();
  });
}

function needsToken(request: FastifyRequest, metricsOpen: boolean): boolean {
  const access = request.routeOptions.config.definition?.access;
  if (access === undefined) return request.url.startsWith('/v1');
  return access === 'operator' || (access === 'metrics' && !metricsOpen);
}

/** Who the history says it was. There is one token, so there is one name. */
export const OPERATOR = 'operator';
