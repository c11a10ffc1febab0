import { z } from 'zod';

/** Every reason for which an operation may be refused or fail, on NATS and, by {@link httpStatusOf}, on REST. */
export const ErrorCode = z.enum([
  'invalid', // the message is malformed or a field is out of range
  'unauthorized', // no or wrong credentials
  'forbidden', // the credentials are good, but not for this
  'notFound', // no such microVM, host or image
  'conflict', // the microVM's state does not accept this command, or an idempotency key was used with another body
  'refused', // a host or the placement refused: capacity, ratio, guard
  'overloaded', // too much is asked at once, of the fleet or by this tenant; nothing was done: try again after `retryAfterMs`
  'unsupported', // well-formed, but this build or host cannot do it
  'unavailable', // a service did not answer; try again
  'timeout', // the deadline passed; the outcome is not known, ask again with the same command id
  'internal', // a fault of Volley; logged with details
]);
export type ErrorCode = z.infer<typeof ErrorCode>;

export const ErrorBody = z.strictObject({
  code: ErrorCode,
  /** One or two sentences: what is wrong and what to do. */
  message: z.string(),
  /** Where it is wrong: one entry per field, `path` in dotted form. */
  details: z.array(z.strictObject({ path: z.string(), message: z.string() })).optional(),
  /** When to try again, in ms; with `overloaded`. */
  retryAfterMs: z.int().positive().optional(),
});
export type ErrorBody = z.infer<typeof ErrorBody>;

export const ErrorReply = z.strictObject({ error: ErrorBody });
export type ErrorReply = z.infer<typeof ErrorReply>;

/** Thrown by handlers to answer with an error reply, and by callers when they received one. */
export class OperationError extends Error {
  override readonly name = 'OperationError';
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly details?: ErrorBody['details'],
    readonly retryAfterMs?: number,
  ) {
    super(message);
  }

  toBody(): ErrorBody {
    return {
      code: this.code,
      message: this.message,
      ...(this.details ? { details: this.details } : {}),
      ...(this.retryAfterMs === undefined ? {} : { retryAfterMs: Math.max(1, Math.ceil(this.retryAfterMs)) }),
    };
  }
}

const HTTP_STATUS: Record<ErrorCode, number> = {
  invalid: 422,
  unauthorized: 401,
  forbidden: 403,
  notFound: 404,
  conflict: 409,
  refused: 409,
  overloaded: 429,
  unsupported: 422,
  unavailable: 503,
  timeout: 504,
  internal: 500,
};

export function httpStatusOf(code: ErrorCode): number {
  return HTTP_STATUS[code];
}
