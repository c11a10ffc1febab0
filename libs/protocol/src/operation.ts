import type { z } from 'zod';

/**
 * One request/reply exchange on NATS. The request and the successful reply are plain JSON objects of these schemas, without
 * any envelope; a failed reply is `{"error": {"code", "message", "details"?}}` (see {@link ErrorReply}).
 */
export interface Operation<Request extends z.ZodType = z.ZodType, Reply extends z.ZodType = z.ZodType> {
  /** NATS subject; `{hostId}` is replaced by {@link subjectFor}. */
  readonly subject: string;
  /** Queue group: one of the subscribers answers. Absent: every subscriber gets it. */
  readonly queue?: string;
  readonly request: Request;
  readonly reply: Reply;
  /** How long a caller waits before it gives up, in ms. */
  readonly deadlineMs: number;
  /** One sentence for the documentation. */
  readonly summary: string;
}

export type RequestOf<O extends Operation> = z.input<O['request']>;
export type ReplyOf<O extends Operation> = z.output<O['reply']>;

export function operation<Request extends z.ZodType, Reply extends z.ZodType>(
  definition: Operation<Request, Reply>,
): Operation<Request, Reply> {
  return definition;
}

/** Fills the `{name}` places of a subject. Throws when a value could change the subject's shape (dots, spaces, wildcards). */
export function subjectFor(template: string, values: Record<string, string> = {}): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined || !/^[A-Za-z0-9_-]+$/.test(value)) {
      throw new RangeError(
        `subject ${template}: ${name} must be letters, digits, '-' or '_', got ${JSON.stringify(value)}`,
      );
    }
    return value;
  });
}
