import type { Host, Microvm } from '#protocol';
import type { Client } from '../api/client';
import { EventStream, type ConnectionState } from '../api/event-stream';
import type { ServerSentEvent } from '../api/event-stream.parser';
import { Problem } from '../api/problem';
import { FleetStore } from '../model/fleet.store';

const DENSITY_EVERY_MS = 2_000;

/** Data of the events of the stream; the record says what happened, the view how it is now. */
type MicrovmChange = { microvm: Microvm | null; record: { microvmId: string } };
type HostChange = { host: Host | null };

/** Keeps a {@link FleetStore} true: reads everything once, then follows the stream of changes and polls density. */
export class LiveFleet {
  readonly store = new FleetStore();
  readonly #stream: EventStream;
  readonly #stopped = new AbortController();
  readonly #listeners = new Set<() => void>();
  #connection: ConnectionState = { kind: 'connecting' };
  /** Why density is not shown, when it is not. */
  densityProblem: string | null = null;

  constructor(
    private readonly client: Client,
    private readonly onUnauthorized: (problem: Problem) => void,
  ) {
    this.#stream = new EventStream(
      {
        open: (lastEventId, signal) => client.events(lastEventId, signal),
        wait,
        now: Date.now,
        random: Math.random,
      },
      {
        onState: (state) => this.#setConnection(state),
        onOpen: (resumed, signal) => (resumed ? Promise.resolve() : this.#readEverything(signal)),
        onEvent: (event) => this.#take(event),
        onUnauthorized,
      },
    );
  }

  get connection(): ConnectionState {
    return this.#connection;
  }

  start(): void {
    const { signal } = this.#stopped;
    const retry = (): void => this.#stream.retryNow();
    addEventListener('online', retry, { signal });
    document.addEventListener('visibilitychange', () => document.hidden || retry(), { signal });
    void this.#stream.run();
    void this.#pollDensity();
  }

  stop(): void {
    this.#stopped.abort();
    this.#stream.stop();
  }

  retryNow(): void {
    this.#stream.retryNow();
  }

  /** Calls back whenever the state of the connection changed. */
  onConnection(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #readEverything(signal: AbortSignal): Promise<void> {
    this.store.beginReading();
    try {
      const hosts = this.#readHosts(signal);
      for await (const page of this.client.microvms(signal)) for (const microvm of page) this.store.putMicrovm(microvm);
      await hosts;
      signal.throwIfAborted();
      this.store.endReading();
    } catch (error) {
      this.store.abandonReading();
      if (error instanceof Problem && error.status === 401) this.onUnauthorized(error);
      throw error;
    }
  }

  /** Hosts are not for tenants, who see their microVMs without them. */
  async #readHosts(signal: AbortSignal): Promise<void> {
    try {
      for (const host of await this.client.hosts(signal)) this.store.putHost(host);
    } catch (error) {
      if (!isForbidden(error)) throw error;
    }
  }

  #take({ type, data }: ServerSentEvent): void {
    switch (type) {
      case 'microvm': {
        const { microvm, record } = JSON.parse(data) as MicrovmChange;
        if (microvm) this.store.putMicrovm(microvm);
        else this.store.dropMicrovm(record.microvmId);
        break;
      }
      case 'host': {
        const { host } = JSON.parse(data) as HostChange;
        if (host) this.store.putHost(host);
        break;
      }
      case 'reset':
        this.#stream.startOver();
        break;
      default:
    }
  }

  #setConnection(state: ConnectionState): void {
    this.#connection = state;
    for (const listener of this.#listeners) listener();
  }

  async #pollDensity(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      if (!document.hidden) {
        try {
          this.store.putDensity(await this.client.density(signal));
          this.densityProblem = null;
        } catch (error) {
          if (signal.aborted) return;
          if (error instanceof Problem && error.status === 401) return this.onUnauthorized(error);
          if (isForbidden(error)) {
            this.densityProblem = 'shown to operators only';
            return;
          }
          this.densityProblem = error instanceof Error ? error.message : String(error);
        }
      }
      await wait(DENSITY_EVERY_MS, signal);
    }
  }
}

function isForbidden(error: unknown): boolean {
  return error instanceof Problem && error.status === 403;
}

export function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
