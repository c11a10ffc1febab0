import { Catch, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import type { VisibleFleet } from '../tenancy/visible-fleet';
import { allowedMethods } from './allowed-methods';
import { ProblemError, problemOf } from './problem';
import type { RouteDefinition } from './route';

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

/** Path of the request without its query, which may hold what does not belong into an answer. */
export function pathOf(url: string): string {
  const query = url.indexOf('?');
  return query < 0 ? url : url.slice(0, query);
}

/** Answers everything that was thrown, unknown routes included, with a problem document. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(
    private readonly routes: readonly RouteDefinition[],
    private readonly views: Pick<VisibleFleet, 'viewOf'>,
    private readonly log: Logger,
  ) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const reply = http.getResponse<FastifyReply>();
    if (reply.sent) return;
    const path = pathOf(request.url);
    const view = request.principal && this.views.viewOf(request.principal);
    const explained = this.#explained(error, request, path);
    const { status, headers, body } = problemOf(view ? view.error(explained) : explained, path);
    request.problemCode = body.code;
    if (status >= 500) {
      // 503 and 504 are weather; anything else of 5xx is a fault of ours.
      const level = status === 503 || status === 504 ? 'warn' : 'error';
      this.log[level]({ err: error, method: request.method, path, status }, 'request failed');
    }
    void reply.status(status).headers(headers).type(PROBLEM_TYPE).send(JSON.stringify(body));
  }

  /** A path that exists, asked with a method that it does not have. */
  #explained(error: unknown, request: FastifyRequest, path: string): unknown {
    if (!request.is404) return error;
    if (error instanceof ProblemError) return error;
    const allowed = allowedMethods(this.routes, path);
    if (allowed.length === 0 || allowed.includes(request.method)) return error;
    const list = allowed.join(', ');
    return new ProblemError(405, 'methodNotAllowed', `${path} takes ${list}, not ${request.method}.`, {
      headers: { allow: list },
    });
  }
}
