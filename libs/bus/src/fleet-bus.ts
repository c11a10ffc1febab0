import { randomBytes } from 'node:crypto';
import { Server, type CustomTransportStrategy, type MessageHandler } from '@nestjs/microservices';
import { isObservable, lastValueFrom } from 'rxjs';
import type { Msg, NatsConnection, Subscription } from 'nats';
import type { Logger } from 'pino';
import { ConnectionWatch, InboundWatermark, JournalUnavailableError } from '#journal';
import { againSubject, OperationError, subscriptionFor, valuesIn, type ErrorReply, type Operation } from '#protocol';
import { BacklogShedder } from './backlog-shedder';
import { BusContext } from './bus-context';
import { UNANSWERED, type HandlerExtras, type ListenOptions } from './decorators';
import { decodeMessage, parseJson } from './message-codec';
import { RequestGate } from './request-gate';

export interface FleetBusOptions {
  connection: NatsConnection;
  /** On which sheddable operations are heard. Default: `connection`. */
  door?: NatsConnection;
  logger: Logger;
  /** Fills `{hostId}` and the like in subjects; with ANY every value is served, and the handler's context tells which it is. */
  values?: Record<string, string>;
  /** Largest message taken, in bytes; larger ones are answered `invalid`. Default 256 KiB. */
  maxMessageBytes?: number;
  /** Requests handled at once; more are answered `overloaded` at once, so that overload sheds instead of piling up. Default 4096. */
  maxInFlight?: number;
  /** While it is closed requests are answered `unavailable`. */
  gate?: RequestGate;
  /** How long `close()` waits for handlers that still run, in ms. Default 10 s. */
  drainMs?: number;
}

const BUSY = 'this service has as much to do as it takes; nothing was done, try again later';
const BUSY_RETRY_MS = 1_000;
const CLOSED = 'this replica has just come back and takes nothing yet; nothing was done, ask again';

/** Until a flush that failed is tried again when the connection does not come back before, ms. */
const FLUSH_AGAIN_MS = 1_000;

/** Where answers go, of every client of NATS. */
const INBOXES = '_INBOX.';

type Run = (message: unknown, msg: Msg) => Promise<unknown>;

/**
 * NestJS on NATS, with plain JSON and no envelope. Controllers' methods marked with `@Handles` answer operations, those marked
 * with `@Listens` hear events. Whatever arrives, nothing but an answer comes of it: malformed messages and failing handlers
 * never end the process.
 */
export class FleetBus extends Server implements CustomTransportStrategy {
  override readonly transportId = Symbol('volley.fleet-bus');
  readonly #options: Required<FleetBusOptions>;
  readonly #handlers: { template: string; handler: MessageHandler; how: HandlerExtras['volley'] }[] = [];
  readonly #subscriptions: Subscription[] = [];
  readonly #inFlight = new Set<Promise<void>>();
  #shedder: BacklogShedder | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: FleetBusOptions) {
    super();
    this.#options = {
      values: {},
      maxMessageBytes: 256 * 1024,
      maxInFlight: 4096,
      drainMs: 10_000,
      gate: new RequestGate(),
      door: options.connection,
      ...options,
    };
  }

  /** Messages whose handlers have not finished yet. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  override addHandler(pattern: unknown, callback: MessageHandler, isEvent = false, extras: object = {}): void {
    const template = String(pattern);
    const how = (extras as Partial<HandlerExtras>).volley;
    if (!how)
      throw new Error(`${template}: use @Handles or @Listens on this bus, not @MessagePattern or @EventPattern`);
    if (!isEvent && this.#handlers.some((other) => 'operation' in other.how && other.template === template)) {
      throw new Error(`two handlers for ${template}: each would answer some of the requests`);
    }
    // Not Nest's own map: it chains listeners of one subject together, so that all would share the first one's options.
    this.#handlers.push({ template, handler: callback, how });
  }

  /** Called by Nest after every module has initialised: subscribes all handlers. */
  listen(callback: (error?: unknown) => void): void {
    this.#subscribeAll().then(
      () => callback(),
      (error: unknown) => callback(error),
    );
  }

  /**
   * Takes no more messages, then waits for the handlers of those it has, for at most `drainMs`. The connection stays open: what
   * is left of the service may still need it.
   */
  close(): Promise<void> {
    this.#closing ??= this.#drain();
    return this.#closing;
  }

  // Part of Nest's Server; there is nothing to tell that the connection itself does not.
  on(): void {}

  unwrap<T>(): T {
    return this.#options.connection as T;
  }

  async #subscribeAll(): Promise<void> {
    const { connection, door, values } = this.#options;
    let refused: Error | undefined;
    const subscribe = (
      template: string,
      queue: string | undefined,
      handle: (msg: Msg) => void,
      where = connection,
    ): void => {
      const subject = subscriptionFor(template, values);
      const callback = (error: Error | null, msg: Msg): void => {
        if (!error) return handle(msg);
        refused ??= error;
        this.#options.logger.error({ err: error, subject }, 'subscription failed');
      };
      this.#subscriptions.push(where.subscribe(subject, { ...(queue ? { queue } : {}), callback }));
    };
    for (const { template, handler, how } of this.#handlers) {
      const run = this.#run(template, handler);
      if (!('operation' in how)) {
        subscribe(template, how.listen.queue, this.#events(how.listen, run));
        continue;
      }
      const { operation } = how;
      const where = operation.sheddable ? door : connection;
      subscribe(template, operation.queue, this.#requests(operation, run), where);
      if (!operation.repeatable) continue;
      const again = againSubject(template);
      const everyReplica = { ...operation, everyReplica: true as const };
      subscribe(again, undefined, this.#requests(everyReplica, this.#run(again, handler)), where);
    }
    await this.#flush(connection);
    if (door !== connection) await this.#flush(door);
    // The server knows them all before anybody is told that we are ready.
    if (refused) throw new Error('NATS does not let this service serve all that it should', { cause: refused });
  }

  /** A connection that is lost meanwhile tells the server of all subscriptions when it is back. */
  async #flush(connection: NatsConnection): Promise<void> {
    const watch = ConnectionWatch.of(connection);
    for (;;) {
      try {
        return await connection.flush();
      } catch (error) {
        if (connection.isClosed() || connection.isDraining()) throw error;
        await watch.reconnected(FLUSH_AGAIN_MS);
      }
    }
  }

  #requests(operation: Operation, run: Run) {
    const { connection, door } = this.#options;
    const shedder = operation.sheddable
      ? (this.#shedder ??= new BacklogShedder([connection, door].map((line) => InboundWatermark.of(line))))
      : undefined;
    return (msg: Msg): void => {
      // Else whoever asks could have us, who may write histories, write there.
      if (msg.reply && !msg.reply.startsWith(INBOXES)) {
        const { subject, reply } = msg;
        return this.#options.logger.warn(
          { event: 'forgedReply', subject, reply },
          'a request wants its answer elsewhere',
        );
      }
      const refusal = this.#refusal() ?? shedder?.refusal();
      if (refusal) return this.#turnAway(msg, operation, refusal);
      this.#track(this.#answer(operation, run, msg));
    };
  }

  #refusal(): OperationError | undefined {
    const { gate, maxInFlight } = this.#options;
    if (gate.isClosed) return new OperationError('unavailable', CLOSED);
    if (this.#inFlight.size >= maxInFlight) return new OperationError('overloaded', BUSY, undefined, BUSY_RETRY_MS);
    return undefined;
  }

  /** What every replica hears may be another one's to answer. */
  #turnAway(msg: Msg, operation: Operation, refusal: OperationError): void {
    if (!operation.everyReplica) this.#reply(msg, { error: refusal.toBody() });
  }

  async #answer(operation: Operation, run: Run, msg: Msg): Promise<void> {
    try {
      const request = decodeMessage(operation.request, msg.data, this.#options.maxMessageBytes);
      const answer = await run(request, msg);
      if (answer !== UNANSWERED) this.#reply(msg, answer ?? {});
    } catch (error) {
      this.#reply(msg, this.#errorReply(error, msg));
    }
  }

  #events(listen: ListenOptions, run: Run) {
    return (msg: Msg): void => {
      this.#track(this.#hear(listen, run, msg));
    };
  }

  async #hear(listen: ListenOptions, run: Run, msg: Msg): Promise<void> {
    const { logger, maxMessageBytes } = this.#options;
    let message: unknown;
    try {
      message = listen.schema
        ? decodeMessage(listen.schema, msg.data, maxMessageBytes)
        : parseJson(msg.data, maxMessageBytes);
    } catch (error) {
      logger.warn({ subject: msg.subject, reason: (error as Error).message }, 'malformed event dropped');
      return;
    }
    try {
      await run(message, msg);
    } catch (error) {
      logger.error({ err: error, subject: msg.subject }, 'event handler failed');
    }
  }

  /** Calls the handler with what it is to know besides the message. */
  #run(template: string, handler: MessageHandler): Run {
    return async (message, msg) => {
      const values = { ...this.#options.values, ...valuesIn(template, msg.subject) };
      const result: unknown = await handler(message, new BusContext(msg.subject, msg.headers, values));
      return isObservable(result) ? lastValueFrom(result, { defaultValue: undefined }) : result;
    };
  }

  #errorReply(error: unknown, msg: Msg): ErrorReply {
    if (error instanceof OperationError) return { error: error.toBody() };
    if (error instanceof JournalUnavailableError) return { error: awayError(error).toBody() };
    const reference = randomBytes(4).toString('hex');
    this.#options.logger.error({ err: error, subject: msg.subject, reference }, 'handler failed');
    return { error: { code: 'internal', message: `internal error; the log of the service has it under ${reference}` } };
  }

  /** Never throws: a reply that cannot be sent is replaced by an error reply, and that one by a line in the log. */
  #reply(msg: Msg, body: unknown): void {
    if (!msg.reply) return; // sent without wanting an answer
    try {
      const text = JSON.stringify(body);
      const limit = this.#options.connection.info?.max_payload ?? Infinity;
      if (Buffer.byteLength(text) > limit)
        throw new RangeError(`the reply is larger than the ${limit} bytes NATS takes`);
      msg.respond(text);
    } catch (error) {
      const closed = this.#options.connection.isClosed();
      if (closed) this.#options.logger.warn({ subject: msg.subject }, 'reply lost: the connection is closed');
      else msg.respond(JSON.stringify(this.#errorReply(error, msg)));
    }
  }

  #track(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => this.#options.logger.error({ err: error }, 'the bus failed to handle a message'))
      .finally(() => this.#inFlight.delete(tracked));
    this.#inFlight.add(tracked);
  }

  async #drain(): Promise<void> {
    const { drainMs, logger } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => (timer = setTimeout(() => resolve('late'), drainMs)));
    const finish = async (): Promise<void> => {
      await Promise.allSettled(this.#subscriptions.map(async (one) => one.isClosed() || (await one.drain())));
      while (this.#inFlight.size > 0) await Promise.all(this.#inFlight);
    };
    if ((await Promise.race([finish(), late])) === 'late') {
      logger.error({ inFlight: this.#inFlight.size, drainMs }, 'gave up waiting for handlers to finish');
    }
    clearTimeout(timer);
  }
}

/** The histories cannot be reached at the moment. */
function awayError({ outcome, message }: JournalUnavailableError): OperationError {
  return outcome === 'unknown'
    ? new OperationError('timeout', `${message}; ask again with the same command id`)
    : new OperationError('unavailable', `${message}; nothing was done`);
}
