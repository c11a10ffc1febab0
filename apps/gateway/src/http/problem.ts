import { HttpException } from '@nestjs/common';
import { ErrorCode, OperationError, httpStatusOf } from '#protocol';
import { z } from 'zod';

/** Codes that only HTTP knows, beside those of the bus. */
const HttpCode = z.enum(['malformed', 'methodNotAllowed', 'tooLarge', 'unsupportedMediaType', 'badRequest']);

/** An error document of RFC 9457: the body of every answer with a status of 400 or more. */
export const Problem = z.looseObject({
  /** `urn:volley:problem:` and the code in kebab case. */
  type: z.string(),
  title: z.string(),
  status: z.int(),
  /** What is wrong and what to do. */
  detail: z.string(),
  /** The path of the request. */
  instance: z.string(),
  code: z.enum([...ErrorCode.options, ...HttpCode.options]),
  /** One entry per wrong field: body fields by name, others as `query.NAME` or `header.NAME`. */
  errors: z.array(z.strictObject({ path: z.string(), message: z.string() })).optional(),
});
export type Problem = z.infer<typeof Problem>;
export type ProblemCode = Problem['code'];

const TITLES: Record<ProblemCode, string> = {
  invalid: 'The request is not valid',
  unauthorized: 'Not authorized',
  forbidden: 'Forbidden',
  notFound: 'Not found',
  conflict: 'In conflict with the current state',
  refused: 'Refused',
  overloaded: 'Too many requests',
  unsupported: 'Not supported',
  unavailable: 'Temporarily unavailable',
  timeout: 'No answer in time',
  internal: 'Internal error',
  malformed: 'The request cannot be read',
  methodNotAllowed: 'Method not allowed',
  tooLarge: 'The request is too large',
  unsupportedMediaType: 'Unsupported media type',
  badRequest: 'Bad request',
};

export interface ProblemOptions {
  errors?: { path: string; message: string }[] | undefined;
  headers?: Record<string, string>;
  /** Extension members of the document. */
  members?: Record<string, unknown>;
}

/** Thrown by the gateway's own code to answer with a problem document. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  constructor(
    readonly status: number,
    readonly code: ProblemCode,
    message: string,
    readonly options: ProblemOptions = {},
  ) {
    super(message);
  }
}

/** Thrown when the operator's token is missing or wrong. */
export function unauthorized(message: string, presented: boolean): ProblemError {
  const challenge = `Bearer realm="volley"${presented ? ', error="invalid_token"' : ''}`;
  return new ProblemError(401, 'unauthorized', message, { headers: { 'www-authenticate': challenge } });
}

export interface ProblemAnswer {
  status: number;
  headers: Record<string, string>;
  body: Problem;
}

/** Makes the answer to anything that was thrown while a request was served. What is not known becomes a 500 without details. */
export function problemOf(error: unknown, instance: string): ProblemAnswer {
  if (error instanceof ProblemError) return answer(error.status, error.code, error.message, instance, error.options);
  if (error instanceof OperationError) {
    const options: ProblemOptions = { errors: error.details };
    if (error.code === 'unavailable') options.headers = { 'retry-after': '1' };
    if (error.code === 'overloaded') {
      options.headers = { 'retry-after': String(Math.ceil((error.retryAfterMs ?? 1_000) / 1_000)) };
    }
    return answer(httpStatusOf(error.code), error.code, error.message, instance, options);
  }
  if (error instanceof HttpException) return fromFramework(error.getStatus(), error.message, instance);
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return fromFramework(status, error instanceof Error ? error.message : '', instance);
  }
  return answer(500, 'internal', 'The gateway failed to answer; its log says more.', instance, {});
}

/** The framework's own refusals, in our words. */
function fromFramework(status: number, message: string, instance: string): ProblemAnswer {
  switch (status) {
    case 400:
      return answer(400, 'malformed', `The request cannot be read: ${message}`, instance, {});
    case 404:
      return answer(
        404,
        'notFound',
        `There is nothing at ${instance}; see /openapi.json for what there is.`,
        instance,
        {},
      );
    case 413:
      return answer(413, 'tooLarge', 'The body is larger than 64 KiB.', instance, {});
    case 415:
      return answer(415, 'unsupportedMediaType', 'Send the body as application/json.', instance, {});
    case 503:
      return answer(503, 'unavailable', 'The gateway is shutting down.', instance, { headers: { 'retry-after': '1' } });
    default:
      return answer(status, status < 500 ? 'badRequest' : 'internal', message, instance, {});
  }
}

function answer(
  status: number,
  code: ProblemCode,
  detail: string,
  instance: string,
  { errors, headers = {}, members = {} }: ProblemOptions,
): ProblemAnswer {
  const type = `urn:volley:problem:${code.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const body: Problem = {
    type,
    title: TITLES[code],
    status,
    detail,
    instance,
    code,
    ...(errors ? { errors } : {}),
    ...members,
  };
  return { status, headers, body };
}
