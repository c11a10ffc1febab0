import { backOff } from './back-off';
import { EventStreamParser, type ServerSentEvent } from './event-stream.parser';
import { Problem } from './problem';

export type ConnectionState =
  | { kind: 'connecting' }
  | { kind: 'live'; since: number }
  /** `retryAt`: when the next try begins, ms since 1970. */
  | { kind: 'waiting'; retryAt: number; failures: number; why: string }
  /** Ended for good: by {@link EventStream.stop} or because the token was refused. */
  | { kind: 'ended' };

/** What the stream needs from the world. */
export interface EventStreamSource {
  /** Opens the stream after this event id. Throws {@link Problem} when refused. */
  open(lastEventId: string | null, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** Resolves after `ms`, or as soon as the signal is aborted. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
  now(): number;
  random(): number;
}

export interface EventStreamListener {
  onState(state: ConnectionState): void;
  /**
   * The stream is open. Not resumed: what happened before is unknown, so everything has to be read anew; events are
   * already flowing, so nothing falls between. A rejection counts as a failure of the connection; the signal is aborted
   * when the connection ends before.
   */
  onOpen(resumed: boolean, signal: AbortSignal): Promise<void>;
  onEvent(event: ServerSentEvent): void;
  /** The token is not accepted any more. */
  onUnauthorized(problem: Problem): void;
}

/** Without a byte for this long the connection is taken for dead; the gateway sends comments far more often. */
export const SILENCE_LIMIT_MS = 45_000;

/** Answers that mean: this position cannot be resumed, start over. */
const POSITION_REFUSED = [400, 409, 410, 412, 416, 422];

/** Follows the event stream for as long as it is wanted: reconnects with back-off and resumes after the last event it saw. */
export class EventStream {
  #lastEventId: string | null = null;
  #failures = 0;
  #ended = false;
  #attempt = new AbortController();
  #pause = new AbortController();

  constructor(
    private readonly source: EventStreamSource,
    private readonly listener: EventStreamListener,
  ) {}

  /** Runs until {@link stop}; never rejects. */
  async run(): Promise<void> {
    while (!this.#ended) {
      this.listener.onState({ kind: 'connecting' });
      const failure = await this.#connectOnce();
      if (this.#ended) break;
      if (failure.error instanceof Problem && failure.error.status === 401) {
        this.#ended = true;
        this.listener.onUnauthorized(failure.error);
        break;
      }
      this.#failures++;
      const ms = backOff(this.#failures, this.source.random(), failure.retryMs ?? 0);
      this.listener.onState({
        kind: 'waiting',
        retryAt: this.source.now() + ms,
        failures: this.#failures,
        why: failure.error instanceof Error ? failure.error.message : String(failure.error),
      });
      this.#pause = new AbortController();
      await this.source.wait(ms, this.#pause.signal);
    }
    this.listener.onState({ kind: 'ended' });
  }

  /** Ends the wait between two tries, for example because the network came back. */
  retryNow(): void {
    this.#pause.abort();
  }

  /** Forgets the position and connects anew, so that everything is read again. */
  startOver(): void {
    this.#lastEventId = null;
    this.#attempt.abort(new Error('reading everything anew'));
    this.#pause.abort();
  }

  stop(): void {
    this.#ended = true;
    this.#attempt.abort(new Error('stopped'));
    this.#pause.abort();
  }

  /** Resolves with why the connection ended; it always ends. */
  async #connectOnce(): Promise<{ error: unknown; retryMs: number | null }> {
    const attempt = new AbortController();
    this.#attempt = attempt;
    const watchdog = new Watchdog(this.source, SILENCE_LIMIT_MS, () =>
      attempt.abort(new Error('the stream went silent')),
    );
    const resumed = this.#lastEventId !== null;
    const parser = new EventStreamParser(this.#lastEventId);
    let opened: Promise<void> = Promise.resolve();
    try {
      const body = await this.source.open(this.#lastEventId, attempt.signal);
      opened = this.listener.onOpen(resumed, attempt.signal).then(
        () => {
          if (attempt.signal.aborted) return;
          this.#failures = 0;
          this.listener.onState({ kind: 'live', since: this.source.now() });
        },
        (error: unknown) => {
          // What was missed is still missing: the next try must not resume behind it.
          this.#lastEventId = null;
          attempt.abort(error);
        },
      );
      const decoder = new TextDecoder();
      for await (const bytes of body) {
        watchdog.touch();
        // An aborted attempt may still hand out what it had buffered; it belongs to nobody any more.
        if (attempt.signal.aborted) break;
        for (const event of parser.push(decoder.decode(bytes, { stream: true }))) this.listener.onEvent(event);
        // An event may have asked to start over.
        if (!attempt.signal.aborted) this.#lastEventId = parser.lastEventId;
      }
      attempt.signal.throwIfAborted();
      throw new Error('the gateway ended the stream');
    } catch (error) {
      if (error instanceof Problem && resumed && POSITION_REFUSED.includes(error.status)) this.#lastEventId = null;
      return { error: attempt.signal.aborted ? (attempt.signal.reason as unknown) : error, retryMs: parser.retryMs };
    } finally {
      watchdog.stop();
      attempt.abort(new Error('the connection ended'));
      // A reading cut short must have said so before the next try decides where to resume.
      await opened;
    }
  }
}

/** Calls back when it was not touched for a while. */
class Watchdog {
  #timer = new AbortController();

  constructor(
    private readonly source: EventStreamSource,
    private readonly limitMs: number,
    private readonly onSilence: () => void,
  ) {
    this.touch();
  }

  touch(): void {
    this.#timer.abort();
    const timer = new AbortController();
    this.#timer = timer;
    void this.source.wait(this.limitMs, timer.signal).then(() => {
      if (!timer.signal.aborted) this.onSilence();
    });
  }

  stop(): void {
    this.#timer.abort();
  }
}
