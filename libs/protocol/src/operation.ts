import type { z } from 'zod';

/**
 * One request/reply exchange on NATS. The request and the successful reply are plain JSON objects of these schemas, without
 * any envelope; a failed reply is `{"error": {"code", "message", "details"?}}` (see {@link ErrorReply}).
 */
export interface Operation<Request extends z.ZodType = z.ZodType, Reply extends z.ZodType = z.ZodType> {
  /** NATS subject; `{hostId}` is replaced by {@link subjectFor}, or by `*` where any host is served. */
  readonly subject: string;
  /** Queue group: one of the subscribers gets it and answers. Absent: every subscriber gets it. */
  readonly queue?: string;
  /** Every replica of a service gets it, and one of them answers: the one it concerns. */
  readonly everyReplica?: true;
  /** With a queue: what was asked and not answered in time may be asked again of every replica; see {@link againSubject}. */
  readonly repeatable?: true;
  /**
   * New work. A service hears it at a door of its own, where it does not stand in front of what the service needs in order to get through what it
   * has accepted, and turns it away unread while it is behind.
   */
  readonly sheddable?: true;
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

const PLACE = /\{(\w+)\}/g;

/** The value of a place in a subject for a subscriber that serves whatever stands there: a controller serves every host. */
export const ANY = '*';

/** Fills the `{name}` places of a subject. Throws when a value could change the subject's shape (dots, spaces, wildcards). */
export function subjectFor(template: string, values: Readonly<Record<string, string>> = {}): string {
  return template.replace(PLACE, (_, name: string) => {
    const value = values[name];
    if (value === undefined || !/^[A-Za-z0-9_-]+$/.test(value)) {
      throw new RangeError(
        `subject ${template}: ${name} must be letters, digits, '-' or '_', got ${JSON.stringify(value)}`,
      );
    }
    return value;
  });
}

/**
 * Where a request is repeated that nobody answered: all replicas of its service hear it there. A queue group goes on giving its share to
 * a member that is frozen, since the server cannot tell. Such requests name themselves, so that whoever comes second changes nothing and
 * answers the same.
 */
export function againSubject(subject: string): string {
  return subject.replace(/^(volley\.v1\.)?/, '$1again.');
}

/** The subject to subscribe to: as {@link subjectFor}, but a place whose value is {@link ANY} becomes a wildcard. */
export function subscriptionFor(template: string, values: Readonly<Record<string, string>> = {}): string {
  const wild = template.replace(PLACE, (place, name: string) => (values[name] === ANY ? ANY : place));
  return subjectFor(wild, values);
}

/** What stands in the `{name}` places of a template in this subject, which must be one that the template's subscription gets. */
export function valuesIn(template: string, subject: string): Record<string, string> {
  const tokens = subject.split('.');
  const values: Record<string, string> = {};
  for (const [at, token] of template.split('.').entries()) {
    const name = /^\{(\w+)\}$/.exec(token)?.[1];
    if (name !== undefined) values[name] = tokens[at]!;
  }
  return values;
}
