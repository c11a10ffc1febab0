import type {
  DensityHistory,
  FleetDensity,
  HistoryEntry,
  Host,
  HostHistoryEntry,
  Microvm,
  MicrovmSpecInput,
  Receipt,
} from '#protocol';
import { Problem, problemOf } from './problem';

export type MicrovmVerb = 'start' | 'pause' | 'resume' | 'stop' | 'kill' | 'delete';
export type HostVerb = 'cordon' | 'uncordon' | 'retire' | 'cancelDrain';

/** A piece of a serial console: bytes `from`..`to` of everything the guest ever wrote. */
export interface LogPiece {
  text: string;
  from: number;
  to: number;
}

export interface History {
  id: string;
  entries: HistoryEntry[];
  /** The microVM as it was then; null before it was born. */
  microvm: Microvm | null;
}

const DEADLINE_MS = 15_000;
const PAGE = 1_000;

/** The gateway's REST API as this page uses it. Every method throws {@link Problem}. */
export class Client {
  constructor(
    /** Where the page came from; the API is beside it. */
    private readonly base: string,
    private readonly token: string,
  ) {}

  /** Reads all living microVMs, page by page. */
  async *microvms(signal?: AbortSignal): AsyncGenerator<Microvm[]> {
    yield* this.#pages('v1/microvms', {}, signal);
  }

  /** Reads the deleted ones the gateway still has at hand, oldest first. */
  async *deletedMicrovms(signal?: AbortSignal): AsyncGenerator<Microvm[]> {
    yield* this.#pages('v1/microvms', { state: 'deleted' }, signal);
  }

  microvm(id: string, signal?: AbortSignal): Promise<Microvm> {
    return this.#get(`v1/microvms/${encodeURIComponent(id)}`, signal);
  }

  /** With `at` (ms since 1970): only up to that instant, and the microVM as it was then. */
  history(id: string, at?: number, signal?: AbortSignal): Promise<History> {
    const query = at === undefined ? '' : `?at=${at}`;
    return this.#get(`v1/microvms/${encodeURIComponent(id)}/history${query}`, signal);
  }

  async receipts(id: string, signal?: AbortSignal): Promise<Receipt[]> {
    const path = `v1/microvms/${encodeURIComponent(id)}/placement`;
    return (await this.#get<{ receipts: Receipt[] }>(path, signal)).receipts;
  }

  /** The end of its serial console, or what came after byte `since`. */
  log(id: string, since?: number, signal?: AbortSignal): Promise<LogPiece> {
    const query = since === undefined ? '' : `?since=${since}`;
    return this.#get(`v1/microvms/${encodeURIComponent(id)}/log${query}`, signal);
  }

  async hosts(signal?: AbortSignal): Promise<Host[]> {
    return (await this.#get<{ items: Host[] }>('v1/hosts', signal)).items;
  }

  density(signal?: AbortSignal): Promise<FleetDensity> {
    return this.#get('v1/density', signal);
  }

  /** What was measured of a host from this instant on, ms since 1970, in steps that give some hundred points. */
  async hostPast(id: string, from: number, signal?: AbortSignal): Promise<DensityHistory> {
    const path = `v1/hosts/${encodeURIComponent(id)}/density?from=${Math.floor(from)}`;
    return (await this.#get<{ history: DensityHistory }>(path, signal)).history;
  }

  /** The latest entries of the history of a host, oldest first. */
  async hostHistory(id: string, signal?: AbortSignal): Promise<HostHistoryEntry[]> {
    const path = `v1/hosts/${encodeURIComponent(id)}/history?limit=100`;
    return (await this.#get<{ entries: HostHistoryEntry[] }>(path, signal)).entries;
  }

  /** Repeated with the same key it makes no second microVM. */
  create(spec: MicrovmSpecInput, idempotencyKey: string): Promise<Microvm> {
    return this.#send('POST', 'v1/microvms', spec, idempotencyKey);
  }

  async command(id: string, verb: MicrovmVerb): Promise<Microvm> {
    const path = `v1/microvms/${encodeURIComponent(id)}`;
    return verb === 'delete' ? this.#send('DELETE', path) : this.#send('POST', `${path}/${verb}`);
  }

  async hostCommand(id: string, verb: HostVerb): Promise<Host> {
    const path = `v1/hosts/${encodeURIComponent(id)}`;
    return verb === 'cancelDrain' ? this.#send('DELETE', `${path}/drain`) : this.#send('POST', `${path}/${verb}`);
  }

  /** Opens the stream of changes. Throws {@link Problem} when it is refused. */
  async events(lastEventId: string | null, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const opening = new AbortController();
    const timer = setTimeout(() => opening.abort(new Error('no answer in time')), DEADLINE_MS);
    try {
      const response = await this.#fetch('v1/events', {
        headers: { accept: 'text/event-stream', ...(lastEventId === null ? {} : { 'last-event-id': lastEventId }) },
        signal: AbortSignal.any([signal, opening.signal]),
      });
      const type = response.headers.get('content-type') ?? '';
      if (!type.startsWith('text/event-stream') || !response.body) {
        throw new Problem(
          response.status,
          'Not an event stream',
          `expected text/event-stream, got ${type || 'nothing'}`,
        );
      }
      return chunksOf(response.body);
    } finally {
      clearTimeout(timer);
    }
  }

  async *#pages<T>(path: string, filter: Record<string, string>, signal?: AbortSignal): AsyncGenerator<T[]> {
    let cursor: string | null = null;
    do {
      const query = new URLSearchParams({ ...filter, limit: String(PAGE), ...(cursor === null ? {} : { cursor }) });
      const page: { items: T[]; nextCursor: string | null } = await this.#get(`${path}?${query}`, signal);
      yield page.items;
      cursor = page.nextCursor;
    } while (cursor !== null);
  }

  async #get<T>(path: string, signal?: AbortSignal): Promise<T> {
    return this.#json(path, { ...(signal ? { signal } : {}) });
  }

  async #send<T>(method: string, path: string, body?: unknown, key: string = randomKey()): Promise<T> {
    return this.#json(path, {
      method,
      headers: {
        'idempotency-key': key,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  async #json<T>(path: string, init: RequestInit): Promise<T> {
    const deadline = AbortSignal.timeout(DEADLINE_MS);
    const response = await this.#fetch(path, {
      ...init,
      signal: init.signal ? AbortSignal.any([init.signal, deadline]) : deadline,
    });
    try {
      return (await response.json()) as T;
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new Problem(response.status, 'Not understood', `the answer of ${path} is not JSON`);
    }
  }

  async #fetch(path: string, init: RequestInit): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(new URL(path, this.base), {
        ...init,
        headers: { accept: 'application/json', ...init.headers, authorization: `Bearer ${this.token}` },
        cache: 'no-store',
        credentials: 'omit',
        redirect: 'error',
      });
    } catch (error) {
      if (error instanceof DOMException && error.name === 'AbortError') throw error;
      const late = error instanceof DOMException && error.name === 'TimeoutError';
      throw new Problem(
        0,
        late ? 'No answer in time' : 'The gateway cannot be reached',
        late ? `no answer within ${DEADLINE_MS / 1000} s` : 'Is `volley up` running? Trying again may help.',
      );
    }
    if (!response.ok) throw problemOf(response.status, await response.text().catch(() => ''));
    return response;
  }
}

async function* chunksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    // Ends the request when the consumer leaves early.
    await reader.cancel().catch(() => undefined);
  }
}

/** crypto.randomUUID exists only on secure origins; a console reached by plain HTTP over a private network has none. */
export function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
