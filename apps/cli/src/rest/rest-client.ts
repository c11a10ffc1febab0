import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { exchange, NoAnswerError, textOf } from './http-exchange';
import { problemIn } from './problem-in';
import { RestError } from './rest-error';
import { type ServerSentEvent, serverSentEvents } from './server-sent-events';
import type { Target } from './target';

const DEADLINE_MS = 15_000;

export interface RequestOptions {
  query?: Record<string, string | number | readonly string[] | undefined>;
  body?: unknown;
  headers?: Record<string, string>;
  /** ms the answer may take; default 15 s. */
  deadlineMs?: number;
  signal?: AbortSignal;
  /** Body that is no JSON, sent as it is read. */
  content?: Readable;
}

/** Calls the operator REST API. Every failure is a {@link CliError}, most of them {@link RestError}. */
export class RestClient {
  constructor(private readonly target: Target) {}

  get url(): string {
    return this.target.url;
  }

  get<T>(path: string, options: RequestOptions = {}): Promise<T> {
    return this.json('GET', path, options);
  }

  post<T>(path: string, options: RequestOptions = {}): Promise<T> {
    return this.json('POST', path, options);
  }

  delete<T>(path: string, options: RequestOptions = {}): Promise<T> {
    return this.json('DELETE', path, options);
  }

  /** Sends a file as it is read. @throws RestError, CliError; what reading the file throws. */
  async upload<T>(path: string, content: Readable, options: RequestOptions & { size?: number } = {}): Promise<T> {
    const { size, ...rest } = options;
    const headers = {
      'content-type': 'application/octet-stream',
      ...(size === undefined ? {} : { 'content-length': String(size) }),
      ...rest.headers,
    };
    return this.json('PUT', path, { ...rest, headers, content });
  }

  /** The body of an answer that is no JSON, as it comes. @throws RestError, CliError */
  async download(path: string, options: RequestOptions = {}): Promise<IncomingMessage> {
    const answer = await this.#send('GET', path, options, '*/*');
    const status = answer.statusCode ?? 0;
    if (status >= 400) throw new RestError(status, problemIn(await textOf(answer), status));
    return answer;
  }

  /** Where and how a WebSocket of this API is opened. */
  webSocket(
    path: string,
    query: Record<string, string>,
  ): { url: string; headers: Record<string, string>; ca?: string | undefined } {
    const url = new URL(path, this.target.url);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const token = this.target.token();
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    return { url: url.href, headers, ca: this.target.ca };
  }

  async json<T>(method: string, path: string, options: RequestOptions): Promise<T> {
    return (await this.answer<T>(method, path, options)).body;
  }

  /** @throws RestError for every status of 400 or more. */
  async answer<T>(method: string, path: string, options: RequestOptions): Promise<{ status: number; body: T }> {
    const answer = await this.#send(method, path, options, 'application/json');
    const text = await textOf(answer);
    const status = answer.statusCode ?? 0;
    if (status >= 400) throw new RestError(status, problemIn(text, status));
    try {
      return { status, body: (text === '' ? undefined : JSON.parse(text)) as T };
    } catch {
      throw new CliError(
        `${this.url}${path} answered ${status} with something that is not JSON; is this a Volley gateway?`,
      );
    }
  }

  /** All items of a list, page after page. */
  async *pages<T>(path: string, query: RequestOptions['query'] = {}, options: RequestOptions = {}): AsyncGenerator<T> {
    let cursor: string | undefined;
    do {
      const page = await this.get<{ items: T[]; nextCursor?: string | null }>(path, {
        ...options,
        query: { limit: 1000, ...query, cursor },
      });
      yield* page.items;
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
  }

  /** Follows a stream until it ends or the signal aborts. */
  async *events(path: string, options: RequestOptions = {}): AsyncGenerator<ServerSentEvent> {
    const answer = await this.#send('GET', path, options, 'text/event-stream');
    const status = answer.statusCode ?? 0;
    if (status >= 400) throw new RestError(status, problemIn(await textOf(answer), status));
    try {
      yield* serverSentEvents(answer);
    } catch (error) {
      if (options.signal?.aborted) return;
      throw this.unreachable(error);
    } finally {
      answer.destroy();
    }
  }

  async #send(method: string, path: string, options: RequestOptions, accept: string): Promise<IncomingMessage> {
    const url = new URL(path, this.target.url);
    for (const [name, value] of Object.entries(options.query ?? {})) {
      const values = Array.isArray(value) ? (value as readonly string[]) : value === undefined ? [] : [String(value)];
      for (const one of values) url.searchParams.append(name, one);
    }
    const token = this.target.token();
    try {
      return await exchange({
        method,
        url,
        headers: { accept, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }), ...options.headers },
        deadlineMs: options.deadlineMs ?? DEADLINE_MS,
        ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
        ...(options.content === undefined ? {} : { content: options.content }),
        ...(options.signal ? { signal: options.signal } : {}),
        ...(this.target.ca === undefined ? {} : { ca: this.target.ca }),
      });
    } catch (error) {
      throw this.unreachable(error);
    }
  }

  /** What to say when nothing could be reached. */
  unreachable(error: unknown): CliError {
    if (error instanceof NoAnswerError) return new CliError(error.message, ExitCode.timeout);
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ECONNREFUSED') {
      return new CliError(`nothing answers at ${this.url}: is it up? Start it with: ./volley up`, ExitCode.notUp);
    }
    return new CliError(`cannot reach ${this.url}: ${message || code}`, ExitCode.notUp);
  }
}
