import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { Logger } from 'pino';

export interface MetadataServerParts {
  /** Where its socket goes; whoever can write to this folder could take its place. */
  path: string;
  /** The values of a microVM that runs here; undefined when there is none of this id. */
  valuesOf: (microvmId: string) => Readonly<Record<string, string>> | undefined;
  log: Logger;
  /** A connection says and hears everything within this. Default 5 s. */
  connectionMs?: number;
  /** Open at the same time, of all microVMs together, and of one. */
  connections?: number;
  connectionsEach?: number;
}

const CONNECTION_MS = 5_000;
const CONNECTIONS = 512;
const CONNECTIONS_EACH = 8;
/** Of the line with the id. */
const ID_MAX = 64;
/** Of a request with its headers. Nothing that is asked here has a body. */
const REQUEST_MAX = 8_192;
/** Requests on one connection. */
const REQUESTS_MAX = 64;

/** An address for the whole, and for one value; keys may hold slashes. */
const PREFIX = '/v1/metadata';

/**
 * Answers guests that ask for their metadata: HTTP/1.1 over connections that the binding's broker makes for them. The first line of
 * a connection is written by the broker and names the microVM; everything after it comes from a guest, and is believed nothing.
 */
export class MetadataServer {
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  readonly #openOf = new Map<string, number>();

  private constructor(private readonly parts: MetadataServerParts) {
    this.#server = createServer((socket) => this.#serve(socket));
    this.#server.maxConnections = parts.connections ?? CONNECTIONS;
    this.#server.unref();
  }

  /** Rejects when the socket cannot be made. */
  static async listen(parts: MetadataServerParts): Promise<MetadataServer> {
    const server = new MetadataServer(parts);
    rmSync(parts.path, { force: true });
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', reject);
      server.#server.listen(parts.path, resolve);
    });
    server.#server.on('error', (error) => parts.log.error({ err: error }, 'metadata can no longer be asked for'));
    chmodSync(parts.path, 0o600);
    return server;
  }

  async close(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(socket: Socket): void {
    this.#open.add(socket);
    const conversation = new Conversation(socket, (microvmId) => this.#admit(microvmId));
    const timer = setTimeout(() => socket.destroy(), this.parts.connectionMs ?? CONNECTION_MS);
    timer.unref();
    socket.unref();
    // A guest may hang up at any moment.
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      clearTimeout(timer);
      this.#open.delete(socket);
      this.#release(conversation.microvmId);
    });
    socket.on('data', (bytes: Buffer) => conversation.hear(bytes));
  }

  /** The values of a microVM that may speak; undefined when it may not. */
  #admit(microvmId: string): (() => Readonly<Record<string, string>> | undefined) | undefined {
    const open = this.#openOf.get(microvmId) ?? 0;
    if (open >= (this.parts.connectionsEach ?? CONNECTIONS_EACH)) return undefined;
    if (this.parts.valuesOf(microvmId) === undefined) return undefined;
    this.#openOf.set(microvmId, open + 1);
    return () => this.parts.valuesOf(microvmId);
  }

  #release(microvmId: string | undefined): void {
    if (microvmId === undefined) return;
    const left = (this.#openOf.get(microvmId) ?? 1) - 1;
    if (left > 0) this.#openOf.set(microvmId, left);
    else this.#openOf.delete(microvmId);
  }
}

/** What is said on one connection. */
class Conversation {
  /** Who speaks, once that is known and admitted. */
  microvmId: string | undefined;
  #values: (() => Readonly<Record<string, string>> | undefined) | undefined;
  #text = '';
  #requests = 0;
  #over = false;

  constructor(
    private readonly socket: Socket,
    private readonly admit: (microvmId: string) => (() => Readonly<Record<string, string>> | undefined) | undefined,
  ) {}

  hear(bytes: Buffer): void {
    if (this.#over) return;
    this.#text += bytes.toString('latin1');
    if (this.microvmId === undefined && !this.#meet()) return;
    for (;;) {
      const end = this.#text.indexOf('\r\n\r\n');
      if (end < 0) {
        if (this.#text.length > REQUEST_MAX) this.#finish(431, 'the request is too long');
        return;
      }
      const head = this.#text.slice(0, end);
      this.#text = this.#text.slice(end + 4);
      this.#answer(head);
      if (this.#over) return;
    }
  }

  /** Reads the broker's line. False: it is not there yet, or nobody whom we know speaks. */
  #meet(): boolean {
    const end = this.#text.indexOf('\n');
    if (end < 0 || end > ID_MAX) {
      if (end > ID_MAX || this.#text.length > ID_MAX) this.#hangUp();
      return false;
    }
    const microvmId = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + 1);
    this.#values = this.admit(microvmId);
    if (this.#values === undefined) {
      this.#hangUp();
      return false;
    }
    this.microvmId = microvmId;
    return true;
  }

  #hangUp(): void {
    this.#over = true;
    this.socket.destroy();
  }

  #answer(head: string): void {
    const [line, ...headers] = head.split('\r\n');
    const match = /^([A-Z]{1,16}) (\/[\x21-\x7e]*) HTTP\/1\.([01])$/.exec(line!);
    if (!match) return this.#finish(400, 'this is not HTTP/1.1');
    const [, method, target, version] = match;
    const header = (name: string): string | undefined =>
      headers
        .find((one) => one.toLowerCase().startsWith(`${name}:`))
        ?.slice(name.length + 1)
        .trim()
        .toLowerCase();
    if (header('transfer-encoding') !== undefined || !['0', undefined].includes(header('content-length'))) {
      return this.#finish(413, 'a request has no body here');
    }
    const last = header('connection') === 'close' || version === '0' || ++this.#requests >= REQUESTS_MAX;
    if (method !== 'GET' && method !== 'HEAD') return this.#finish(405, 'metadata can be read, and nothing else');
    const values = this.#values!();
    if (values === undefined) return this.#finish(410, 'this microVM has ended');
    const { status, type, body } = lookUp(values, target!);
    this.#send(status, type, body, last, method === 'HEAD');
  }

  #finish(status: number, message: string): void {
    this.#send(status, 'text/plain; charset=utf-8', `${message}\n`, true);
  }

  #send(status: number, type: string, body: string, last: boolean, headOnly = false): void {
    const bytes = Buffer.from(body, 'utf8');
    const head = [
      `HTTP/1.1 ${status} ${PHRASES[status]!}`,
      `Content-Type: ${type}`,
      `Content-Length: ${bytes.length}`,
      'Cache-Control: no-store',
      `Connection: ${last ? 'close' : 'keep-alive'}`,
    ];
    this.socket.write(`${head.join('\r\n')}\r\n\r\n`);
    if (!headOnly) this.socket.write(bytes);
    if (!last) return;
    this.#over = true;
    this.socket.end();
  }
}

const PHRASES: Record<number, string> = {
  200: 'OK',
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  410: 'Gone',
  413: 'Content Too Large',
  431: 'Request Header Fields Too Large',
};

const TEXT = 'text/plain; charset=utf-8';

function lookUp(
  values: Readonly<Record<string, string>>,
  target: string,
): { status: number; type: string; body: string } {
  const path = target.split('?')[0]!;
  if (path === PREFIX || path === `${PREFIX}/`)
    return { status: 200, type: 'application/json', body: JSON.stringify(values) };
  let key: string;
  try {
    key = decodeURIComponent(path.slice(PREFIX.length + 1));
  } catch {
    return { status: 400, type: TEXT, body: 'the key is not encoded as in a URL\n' };
  }
  if (!path.startsWith(`${PREFIX}/`))
    return { status: 404, type: TEXT, body: `there is only ${PREFIX} and ${PREFIX}/KEY\n` };
  if (!Object.hasOwn(values, key)) return { status: 404, type: TEXT, body: 'there is no value of this key\n' };
  return { status: 200, type: TEXT, body: values[key]! };
}
