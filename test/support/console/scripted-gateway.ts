import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { ScriptedRefusal, type ScriptedChange, type ScriptedFleet } from './scripted-fleet';
import { hostPast } from './scripted-host-density';

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};
/** As strict as the real gateway. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** The gateway's REST API as far as the console uses it, over a {@link ScriptedFleet}, with a network that can be broken. */
export class ScriptedGateway {
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  readonly #streams = new Set<ServerResponse>();
  /** The Last-Event-ID of every stream that was opened; null without. */
  readonly resumedAfter: (string | null)[] = [];
  /** Every request that was made, `METHOD path`. */
  readonly requests: string[] = [];
  /** Answer everything under /v1 with this status. */
  failWith: number | null = null;

  constructor(
    private readonly fleet: ScriptedFleet,
    private readonly folder: string,
    public token: string,
  ) {}

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  /** Cuts every stream of events, in the middle of a frame. */
  dropStreams(): void {
    for (const stream of this.#streams) {
      stream.write('id: 999999.999999\nevent: microvm\ndata: {"torn":', () => stream.destroy());
    }
  }

  get streams(): number {
    return this.#streams.size;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://gateway');
    this.requests.push(`${request.method} ${url.pathname}`);
    try {
      if (!url.pathname.startsWith('/v1/')) return await this.#file(url.pathname, response);
      if (this.failWith !== null) throw new ScriptedRefusal(this.failWith, 'the fleet is not to be reached just now');
      if (request.headers.authorization !== `Bearer ${this.token}`) {
        throw new ScriptedRefusal(401, 'The token is not the operator token of this fleet.');
      }
      if (url.pathname === '/v1/events') return this.#events(request, response);
      const body = await bodyOf(request);
      const { status, answer } = this.#answer(request, url, body);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    } catch (error) {
      const refusal = error instanceof ScriptedRefusal ? error : new ScriptedRefusal(500, String(error));
      const { status, message, errors } = refusal;
      const title =
        { 401: 'Not authorized', 404: 'Not found', 409: 'In conflict with the current state' }[status] ?? 'Refused';
      response.writeHead(status, { 'content-type': 'application/problem+json' }).end(
        JSON.stringify({
          type: 'urn:volley:problem:scripted',
          title,
          status,
          detail: message,
          ...(errors ? { errors } : {}),
        }),
      );
    }
  }

  #answer(request: IncomingMessage, url: URL, body: unknown): { status: number; answer: unknown } {
    const [, , kind, id, verb] = url.pathname.split('/');
    const query = url.searchParams;
    const key = request.headers['idempotency-key'];
    const get = request.method === 'GET';
    if (kind === 'hosts' && verb === 'density')
      return { status: 200, answer: { host: null, history: hostPast(Number(query.get('from'))) } };
    if (kind === 'hosts' && verb === 'history')
      return { status: 200, answer: { id, entries: this.fleet.hostHistory(id!), more: false } };
    if (kind === 'density') return { status: 200, answer: this.fleet.density() };
    if (kind === 'hosts' && get) return { status: 200, answer: { items: this.fleet.hosts() } };
    if (kind === 'hosts' && id && verb) return { status: 200, answer: this.fleet.hostCommand(id, verb) };
    if (kind === 'microvms' && !id && get) {
      const cursor = query.get('cursor') ?? undefined;
      const limit = Number(query.get('limit') ?? 100);
      return { status: 200, answer: this.fleet.list({ deleted: query.get('state') === 'deleted', limit, cursor }) };
    }
    if (kind === 'microvms' && !id) return { status: 202, answer: this.fleet.create(body, key as string | undefined) };
    if (kind === 'microvms' && id && get) {
      const number = (name: string): number | undefined => (query.has(name) ? Number(query.get(name)) : undefined);
      if (verb === undefined) return { status: 200, answer: this.fleet.microvm(id) };
      if (verb === 'history') return { status: 200, answer: this.fleet.history(id, number('at')) };
      if (verb === 'placement') return { status: 200, answer: { receipts: this.fleet.receipts(id) } };
      if (verb === 'log') return { status: 200, answer: this.fleet.log(id, number('since')) };
    }
    if (kind === 'microvms' && id && !get) {
      return { status: 202, answer: this.fleet.command(id, request.method === 'DELETE' ? 'delete' : verb!) };
    }
    throw new ScriptedRefusal(404, `There is nothing at ${url.pathname}`);
  }

  #events(request: IncomingMessage, response: ServerResponse): void {
    const last = request.headers['last-event-id'];
    this.resumedAfter.push(typeof last === 'string' ? last : null);
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' });
    const after = { microvm: 0, host: 0 };
    const write = (change: ScriptedChange): void => {
      after[change.kind] = change.sequence;
      const { kind, ...data } = change;
      response.write(`id: ${after.microvm}.${after.host}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`);
    };
    [after.microvm = 0, after.host = 0] = (typeof last === 'string' ? last : this.fleet.position)
      .split('.')
      .map(Number);
    response.write(`retry: 200\nid: ${after.microvm}.${after.host}\n\n`);
    for (const change of this.fleet.changes) if (change.sequence > after[change.kind]) write(change);
    this.#streams.add(response);
    const stop = this.fleet.onChange(write);
    response.on('close', () => {
      stop();
      this.#streams.delete(response);
    });
  }

  async #file(path: string, response: ServerResponse): Promise<void> {
    const file = normalize(path === '/' ? '/index.html' : path);
    const content = await readFile(join(this.folder, file)).catch(() => null);
    if (!content) return void response.writeHead(404).end();
    response
      .writeHead(200, {
        'content-type': TYPES[extname(file)] ?? 'application/octet-stream',
        'content-security-policy': POLICY,
        'x-content-type-options': 'nosniff',
      })
      .end(content);
  }
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString('utf8');
  return text === '' ? undefined : (JSON.parse(text) as unknown);
}
