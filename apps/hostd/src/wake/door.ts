import { createSocket, type Socket as Datagrams } from 'node:dgram';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Logger } from 'pino';
import type { PortForward } from '#protocol';

/** Connections that one microVM's door holds; more are turned away. */
export const HELD_MOST = 32;
/** How long one is held, ms: as long as a client that waits for an answer may be expected to. */
const HELD_MS = 30_000;
/** Time for a connection to the guest, ms. */
const CONNECT_MS = 10_000;

/** Where to reach a guest by a port of its host. */
export type Way = (port: number) => { host: string; port: number };
/** As any program of the host: the packet filter hands it on. */
export const OWN_PORT: Way = (port) => ({ host: '127.0.0.1', port });

export interface Knock {
  protocol: 'tcp' | 'udp';
  /** Of the host. */
  port: number;
  /** Who knocks. */
  address: string;
}

/**
 * Stands at the ports of its host that are handed on to a microVM while that is suspended. A TCP connection is accepted, and held unread until the
 * microVM runs; then its bytes go to the guest and back, by way of the host's own port. So nothing of it is lost, while memory is bounded by the
 * buffers of its sockets. Of UDP a datagram is only the knock; who sent it sends it again.
 */
export class Door {
  readonly #servers: Server[] = [];
  readonly #datagrams: Datagrams[] = [];
  /** With the port of the host that each came to, and the end of its patience. */
  readonly #held = new Map<Socket, { port: number; late: NodeJS.Timeout }>();

  private constructor(
    /** True: somebody may wake it, and what came may wait for that. */
    private readonly knocked: (knock: Knock) => boolean,
    private readonly log: Logger,
  ) {}

  /** @throws Error of the socket when a port is not to be had; nothing is left open then. */
  static async open(forwards: readonly PortForward[], knocked: (knock: Knock) => boolean, log: Logger): Promise<Door> {
    const door = new Door(knocked, log);
    try {
      for (const { protocol, hostPort } of forwards) await door.#listen(protocol, hostPort);
      return door;
    } catch (error) {
      door.close();
      throw error;
    }
  }

  /** Connections that wait. */
  get held(): number {
    return this.#held.size;
  }

  #listen(protocol: 'tcp' | 'udp', port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      // Also later: when the agent has no descriptor left for who knocks, that is no reason for it to end.
      const failed = (error: Error): void => {
        this.log.debug({ err: error, protocol, port }, 'a port of a suspended microVM failed');
        reject(error);
      };
      if (protocol === 'tcp') {
        // Nothing is read before the guest can take it.
        const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) =>
          this.#hold(socket, port),
        );
        this.#servers.push(server);
        server.on('error', failed).listen({ port, host: '0.0.0.0' }, resolve);
      } else {
        const socket = createSocket('udp4', (_, { address }) => void this.knocked({ protocol, port, address }));
        this.#datagrams.push(socket);
        socket.on('error', failed).bind({ port, address: '0.0.0.0' }, resolve);
      }
    });
  }

  #hold(socket: Socket, port: number): void {
    socket.on('error', () => socket.destroy());
    const address = socket.remoteAddress ?? '';
    if (this.#held.size >= HELD_MOST || !this.knocked({ protocol: 'tcp', port, address })) {
      socket.resetAndDestroy();
      return;
    }
    const late = setTimeout(() => socket.resetAndDestroy(), HELD_MS);
    late.unref();
    this.#held.set(socket, { port, late });
    socket.once('close', () => {
      clearTimeout(late);
      this.#held.delete(socket);
    });
  }

  /** It runs: what waits goes to its guest, and what comes from now on finds it without this. */
  deliver(way: Way): void {
    this.#stopListening();
    for (const [socket, { port, late }] of this.#held) {
      this.#held.delete(socket);
      clearTimeout(late);
      const guest = connect({ ...way(port), allowHalfOpen: true });
      guest.setTimeout(CONNECT_MS, () => guest.destroy(new Error(`no answer within ${CONNECT_MS} ms`)));
      guest.once('connect', () => {
        guest.setTimeout(0);
        socket.pipe(guest).pipe(socket);
      });
      guest.on('error', (error) => {
        this.log.debug({ err: error, port }, 'a connection that woke a microVM did not reach its guest');
        socket.resetAndDestroy();
      });
      socket.once('close', () => guest.destroy());
      guest.once('close', () => socket.destroySoon());
    }
  }

  /** Turns away who waits. */
  dismiss(): void {
    for (const socket of this.#held.keys()) socket.resetAndDestroy();
    this.#held.clear();
  }

  close(): void {
    this.#stopListening();
    this.dismiss();
  }

  #stopListening(): void {
    for (const server of this.#servers.splice(0)) server.close();
    for (const socket of this.#datagrams.splice(0)) {
      try {
        socket.close();
      } catch {
        // It never came to be bound.
      }
    }
  }
}
