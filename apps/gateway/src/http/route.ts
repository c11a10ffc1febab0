import {
  applyDecorators,
  createParamDecorator,
  HttpCode,
  RequestMapping,
  RequestMethod,
  type ExecutionContext,
} from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import type { FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { Audience, Principal } from '#tenancy';
import { invalid } from './invalid';
import { ProblemError } from './problem';

export interface ResponseDefinition {
  /** Of a response that many routes share. */
  name?: string;
  description: string;
  /** JSON body. Absent: see `contentType`, or no body. */
  schema?: z.ZodType;
  /** Of a body that is not JSON, or that may be asked for instead. */
  contentType?: string;
  headers?: Record<string, string>;
}

/**
 * One route: the single place that says what it takes and gives. Routing, validation, the OpenAPI document and the check of
 * allowed methods are all made from it.
 */
export interface RouteDefinition<
  Params extends z.ZodObject = z.ZodObject,
  Query extends z.ZodObject = z.ZodObject,
  Headers extends z.ZodObject = z.ZodObject,
  Body extends z.ZodType = z.ZodType,
> {
  /** Name of the route in the OpenAPI document. */
  name: string;
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With `{param}` places. */
  path: string;
  tag: 'microVMs' | 'groups' | 'templates' | 'images' | 'hosts' | 'fleet' | 'tenants' | 'service' | 'console';
  summary: string;
  description?: string;
  /** Whose token it needs. `metrics`: as `fleet`, unless configured otherwise. `open`: none. */
  access: Audience | 'open' | 'metrics';
  /** A value that does not fit names something that cannot exist: 404. */
  params?: Params;
  /** Unknown ones are refused. */
  query?: Query;
  /** Those that mean something here, in lower case; others are ignored. */
  headers?: Headers;
  /** An absent body counts as `{}`. Absent schema: any body is refused. */
  body?: Body;
  /** The body is a file, `application/octet-stream`, of any size; the handler reads it as it comes in. Says what it is. */
  upload?: string;
  responses: Record<number, ResponseDefinition>;
}

type Output<S> = S extends z.ZodType ? z.output<S> : never;
export type InputOf<R extends RouteDefinition> = {
  params: Output<R['params']>;
  query: Output<R['query']>;
  headers: Output<R['headers']>;
  body: Output<R['body']>;
  /** Whose token the request presents. Not for routes that are `open`. */
  who: Principal;
};

/** Keeps the exact schema types of a route. */
export function route<const R extends RouteDefinition>(definition: R): R {
  return definition;
}

const METHODS = {
  GET: RequestMethod.GET,
  POST: RequestMethod.POST,
  PUT: RequestMethod.PUT,
  DELETE: RequestMethod.DELETE,
} as const;

declare module 'fastify' {
  interface FastifyContextConfig {
    definition?: RouteDefinition;
  }
}

/** Makes a controller's method the handler of a route. */
export function Serves(definition: RouteDefinition): MethodDecorator {
  return applyDecorators(
    RequestMapping({ method: METHODS[definition.method], path: definition.path.replace(/\{(\w+)\}/g, ':$1') }),
    HttpCode(200), // what a handler does not say otherwise
    RouteConfig({ definition }),
  );
}

/** The checked input of a route, as a parameter of its handler. */
export const Input = createParamDecorator((definition: RouteDefinition, context: ExecutionContext) =>
  readInput(definition, context.switchToHttp().getRequest<FastifyRequest>()),
);

/** @throws ProblemError 404 for params, 422 for everything else that does not fit. */
export function readInput<R extends RouteDefinition>(definition: R, request: FastifyRequest): InputOf<R> {
  const { params, query, headers, body, upload } = definition;
  const input: Partial<Record<keyof InputOf<R>, unknown>> = { who: request.principal };
  if (params) {
    const parsed = params.safeParse(request.params);
    if (!parsed.success) {
      const { issues } = parsed.error;
      throw new ProblemError(
        404,
        'notFound',
        issues.map((issue) => `${issue.path.join('.')} ${issue.message}`).join('; '),
      );
    }
    input.params = parsed.data;
  }
  const given = request.query as Record<string, unknown>;
  if (query) input.query = check(query, given, 'query.');
  else
    for (const name in given)
      throw invalid([{ path: `query.${name}`, message: 'this route takes no query parameters' }]);
  if (headers) input.headers = check(headers, request.headers, 'header.');
  if (body) input.body = check(body, request.body === undefined ? {} : request.body, '');
  else if (upload === undefined && request.body !== undefined)
    throw invalid([{ path: '', message: 'this route takes no body' }]);
  return input as InputOf<R>;
}

function check(schema: z.ZodType, value: unknown, prefix: string): unknown {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw invalid(
    parsed.error.issues.flatMap((issue) => {
      const path = prefix + issue.path.map(String).join('.');
      if (issue.code !== 'unrecognized_keys') return [{ path, message: issue.message }];
      const at = issue.path.length === 0 ? prefix : `${path}.`;
      return issue.keys.map((key) => ({
        path: at + key,
        message: prefix === 'query.' ? 'unknown query parameter' : 'unknown field',
      }));
    }),
  );
}
