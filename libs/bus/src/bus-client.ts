import { errors, type NatsConnection, type Subscription } from 'nats';
import type { Logger } from 'pino';
import type { z } from 'zod';
import { onAbort } from '#concurrency';
import { ConnectionWatch } from '#journal';
import {
  againSubject,
  ErrorReply,
  OperationError,
  subjectFor,
  type Operation,
  type ReplyOf,
  type RequestOf,
} from '#protocol';
import { decodeMessage, invalidMessage, parseJson } from './message-codec';
import { repeatedCall } from './repeated-call';

export interface CallOptions {
  /** Fills `{hostId}` and the like in the subject. */
  values?: Record<string, string>;
  /** Overrides the operation's deadline, in ms. */
  deadlineMs?: number;
  /**
   * For a request that names itself and so may be sent twice: without an answer after this many ms it is sent again, after twice as many
   * once more, and so on until the deadline, as far as possible to every replica. A service that died or froze with the request in hand then
   * costs no more than that. See {@link repeatedCall}.
   */
  repeatAfterMs?: number;
  /** Gives up waiting; the service goes on. */
  signal?: AbortSignal;
}

export interface SubscribeOptions<S extends z.ZodType> {
  schema?: S;
  queue?: string;
}

/** Calls operations and publishes events. */
export class BusClient {
  readonly #watch: ConnectionWatch;

  constructor(
    readonly connection: NatsConnection,
    private readonly logger: Logger,
  ) {
    this.#watch = ConnectionWatch.of(connection);
  }

  /**
   * Calls an operation and returns its validated reply.
   *
   * @throws OperationError with the code of the error reply; `unavailable` when nobody answers to the subject or NATS is away
   * (nothing was done); `timeout` when no reply came within the deadline (the outcome is not known); `internal` when the reply
   * is not what the operation promises.
   */
  async call<O extends Operation>(operation: O, request: RequestOf<O>, options: CallOptions = {}): Promise<ReplyOf<O>> {
    const { repeatAfterMs } = options;
    const deadlineMs = options.deadlineMs ?? operation.deadlineMs;
    if (repeatAfterMs === undefined) return this.#callOnce(operation, request, { ...options, deadlineMs });
    const again = operation.repeatable ? { ...operation, subject: againSubject(operation.subject) } : operation;
    const deadline = performance.now() + deadlineMs;
    const attempt = (repeated: boolean): Promise<ReplyOf<O>> => {
      const leftMs = Math.max(1, deadline - performance.now());
      return this.#callOnce(repeated ? again : operation, request, { ...options, deadlineMs: leftMs });
    };
    return repeatedCall({ attempt, firstMs: repeatAfterMs, deadlineMs });
  }

  async #callOnce<O extends Operation>(
    operation: O,
    request: RequestOf<O>,
    options: CallOptions & { deadlineMs: number },
  ): Promise<ReplyOf<O>> {
    const subject = subjectFor(operation.subject, options.values);
    const { deadlineMs } = options;
    const deadline = performance.now() + deadlineMs;
    options.signal?.throwIfAborted();
    if (!this.#watch.connected) {
      await abortable(this.#watch.reconnected(deadlineMs), options.signal);
      if (!this.#watch.connected)
        throw new OperationError('unavailable', `${subject}: not connected to NATS; nothing was sent`);
    }
    const timeout = Math.max(1, Math.round(deadline - performance.now()));
    let data: Uint8Array;
    try {
      data = (await abortable(this.connection.request(subject, JSON.stringify(request), { timeout }), options.signal))
        .data;
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw callError(subject, deadlineMs, error);
    }
    return this.#decodeReply(operation, subject, data);
  }

  /**
   * Calls an operation that any number of services answer, each for itself, and gathers the replies that come within `forMs`. An
   * error reply, or one that is not what the operation promises, rejects as in {@link call}. Nobody there: none.
   */
  async callAll<O extends Operation>(operation: O, request: RequestOf<O>, forMs: number): Promise<ReplyOf<O>[]> {
    const subject = subjectFor(operation.subject);
    const options = { strategy: 'timer', maxWait: forMs } as const;
    const replies: ReplyOf<O>[] = [];
    try {
      for await (const { data } of await this.connection.requestMany(subject, JSON.stringify(request), options)) {
        replies.push(this.#decodeReply(operation, subject, data));
      }
    } catch (error) {
      if (findCause(error, errors.NoRespondersError)) return [];
      if (error instanceof OperationError) throw error;
      throw callError(subject, forMs, error);
    }
    return replies;
  }

  /** Publishes JSON, to whoever listens. Nothing is guaranteed. */
  publish(subject: string, message: unknown): void {
    this.connection.publish(subject, JSON.stringify(message));
  }

  /** Listens outside a controller. A message that does not fit, or a handler that throws, is logged. */
  subscribe<S extends z.ZodType>(
    subject: string,
    onMessage: (message: z.output<S>, subject: string) => void,
    options: SubscribeOptions<S> = {},
  ): Subscription {
    return this.connection.subscribe(subject, {
      ...(options.queue ? { queue: options.queue } : {}),
      callback: (error, msg) => {
        if (error) return this.logger.error({ err: error, subject }, 'subscription failed');
        try {
          const message = options.schema
            ? decodeMessage(options.schema, msg.data, Infinity)
            : parseJson(msg.data, Infinity);
          onMessage(message as z.output<S>, msg.subject);
        } catch (failure) {
          this.logger.error({ err: failure, subject: msg.subject }, 'event not handled');
        }
      },
    });
  }

  #decodeReply<O extends Operation>(operation: O, subject: string, data: Uint8Array): ReplyOf<O> {
    let reply: unknown;
    try {
      reply = parseJson(data, Infinity);
    } catch {
      throw new OperationError('internal', `${subject}: the reply is not JSON`);
    }
    if (typeof reply === 'object' && reply !== null && 'error' in reply) {
      const failed = ErrorReply.safeParse(reply);
      if (failed.success) {
        const { code, message, details, retryAfterMs } = failed.data.error;
        throw new OperationError(code, message, details, retryAfterMs);
      }
    }
    const result = operation.reply.safeParse(reply);
    if (result.success) return result.data as ReplyOf<O>;
    const { message, details } = invalidMessage(
      `${subject}: the reply is not what the operation promises`,
      result.error,
    );
    throw new OperationError('internal', message, details);
  }
}

function callError(subject: string, deadlineMs: number, error: unknown): OperationError {
  if (findCause(error, errors.NoRespondersError)) {
    return new OperationError('unavailable', `${subject}: no service answers to it at the moment; nothing was done`);
  }
  if (findCause(error, errors.TimeoutError)) {
    return new OperationError(
      'timeout',
      `${subject}: no reply within ${Math.round(deadlineMs)} ms; the outcome is not known`,
    );
  }
  if (findCause(error, errors.InvalidArgumentError)) {
    return new OperationError('invalid', `${subject}: the request cannot be sent: ${(error as Error).message}`);
  }
  if (findCause(error, errors.DrainingConnectionError)) {
    return new OperationError('unavailable', `${subject}: this service is shutting down; nothing was sent`);
  }
  // Closed under our hands: it may have been sent.
  return new OperationError('timeout', `${subject}: ${String((error as Error).message)}; the outcome is not known`);
}

function findCause(error: unknown, type: abstract new (...args: never[]) => Error): boolean {
  for (let one: unknown = error; one instanceof Error; one = (one as Error).cause) if (one instanceof type) return true;
  return false;
}

async function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  let off!: () => void;
  const aborted = new Promise<never>((_, reject) => (off = onAbort(signal, () => reject(signal.reason as Error))));
  try {
    return await Promise.race([work, aborted]);
  } finally {
    off();
  }
}
