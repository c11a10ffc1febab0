import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { SeededRandom } from '../seeded-random';
import { NatsFrames, type NatsFrame } from './nats-frames';

/** What happens to what goes one way. Chances are of 1, for each message by itself. */
export interface WayFaults {
  /** Nothing arrives, and nobody is told: as behind a pulled cable. */
  cut: boolean;
  /** A message is delivered twice. */
  duplicate: number;
  /** A message is held back for up to `holdMs`; those behind it overtake it. */
  hold: number;
  holdMs: number;
  /** Everything arrives this much later, in order, ms. */
  delayMs: number;
}

export type Way = 'toServer' | 'toClient';

interface Pair {
  client: Socket;
  server: Socket;
  /** The server's greeting was the last that could be read: what follows can be cut and delayed only. */
  encrypted: boolean;
}

const NO_FAULTS: WayFaults = { cut: false, duplicate: 0, hold: 0, holdMs: 0, delayMs: 0 };

/**
 * Stands between a client of NATS and its server and spoils what passes, message by message; what the connection says of itself
 * (INFO, PING, SUB, ...) is only cut or delayed, never doubled or reordered, since TCP would not do that either.
 */
export class FaultProxy {
  readonly #faults: Record<Way, WayFaults> = { toServer: { ...NO_FAULTS }, toClient: { ...NO_FAULTS } };
  readonly #pairs = new Set<Pair>();
  /** Messages that were doubled or overtaken so far. */
  spoiled = 0;

  private constructor(
    private readonly server: Server,
    private readonly target: () => number,
    private readonly random: SeededRandom,
  ) {}

  /** Listens on a free port of the loopback. `target` is asked for the server's port at each connection: it may have moved. */
  static async listen(target: () => number, random: SeededRandom): Promise<FaultProxy> {
    const server = createServer();
    const proxy = new FaultProxy(server, target, random);
    server.on('connection', (client) => proxy.#join(client));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.server.address() as { port: number }).port;
  }

  /** Spoils one way from now on, in addition to what is spoiled there. */
  spoil(way: Way, faults: Partial<WayFaults>): void {
    Object.assign(this.#faults[way], faults);
  }

  /** Lets everything pass again. Connections that were cut are closed: what was swallowed will never arrive. */
  heal(): void {
    const wasCut = this.#faults.toServer.cut || this.#faults.toClient.cut;
    this.#faults.toServer = { ...NO_FAULTS };
    this.#faults.toClient = { ...NO_FAULTS };
    if (wasCut) this.#drop();
  }

  async close(): Promise<void> {
    this.server.close();
    this.#drop();
    await once(this.server, 'close');
  }

  #drop(): void {
    for (const { client, server } of this.#pairs) {
      client.destroy();
      server.destroy();
    }
  }

  #join(client: Socket): void {
    const server = connect(this.target(), '127.0.0.1');
    const pair: Pair = { client, server, encrypted: false };
    this.#pairs.add(pair);
    this.#pass(pair, 'toServer');
    this.#pass(pair, 'toClient');
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      // Its `close` follows, and takes the other with it.
      socket.on('error', () => {});
      socket.on('close', () => {
        // The end of a connection is news, and news does not get through a cut.
        if (this.#faults[socket === client ? 'toServer' : 'toClient'].cut) return;
        this.#pairs.delete(pair);
        (socket === client ? server : client).destroy();
      });
    }
  }

  #pass(pair: Pair, way: Way): void {
    const [from, to] = way === 'toServer' ? [pair.client, pair.server] : [pair.server, pair.client];
    const frames = new NatsFrames();
    /** What must stay in order: a delay that ends must not let anything overtake what it still holds. */
    const line: { frame: NatsFrame; atMs: number }[] = [];
    const advance = (): void => {
      while (line.length > 0 && line[0]!.atMs <= performance.now()) this.#write(line.shift()!.frame, to, way);
      if (line.length > 0) setTimeout(advance, line[0]!.atMs - performance.now() + 1);
    };
    const inOrder = (frame: NatsFrame): void => {
      line.push({ frame, atMs: performance.now() + this.#faults[way].delayMs });
      if (line.length === 1) advance();
    };
    const late = (frame: NatsFrame, ms: number): void => void setTimeout(() => this.#write(frame, to, way), ms);
    from.on('data', (chunk: Buffer) => {
      if (this.#faults[way].cut) return;
      try {
        if (pair.encrypted) return inOrder({ verb: 'TLS', payload: false, bytes: chunk });
        for (const frame of frames.push(chunk)) {
          pair.encrypted ||= frame.verb === 'INFO' && frame.bytes.includes('"tls_required":true');
          this.#spoil(frame, way, inOrder, late);
        }
      } catch (error) {
        from.destroy(error as Error);
      }
    });
  }

  #spoil(
    frame: NatsFrame,
    way: Way,
    inOrder: (frame: NatsFrame) => void,
    late: (frame: NatsFrame, ms: number) => void,
  ): void {
    const { duplicate, hold, holdMs, delayMs } = this.#faults[way];
    if (frame.payload && this.random.chance(hold)) {
      this.spoiled++;
      return late(frame, delayMs + this.random.int(1, holdMs + 1));
    }
    inOrder(frame);
    if (frame.payload && this.random.chance(duplicate)) {
      this.spoiled++;
      late(frame, delayMs + this.random.int(1, 50));
    }
  }

  #write({ bytes }: NatsFrame, to: Socket, way: Way): void {
    if (!this.#faults[way].cut && to.writable) to.write(bytes);
  }
}
