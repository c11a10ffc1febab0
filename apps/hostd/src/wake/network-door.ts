import { createSocket, type Socket as Datagrams } from 'node:dgram';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Logger } from 'pino';
import type { PortForward } from '#protocol';
import type { Door, Knocked } from './door';
import { HELD_MOST, HeldConnections } from './held-connections';

/** Where to reach a guest by a port of its host. */
export type Way = (port: number) => { host: string; port: number };
/** As any program of the host: the packet filter hands it on. */
const OWN_PORT: Way = (port) => ({ host: '127.0.0.1', port });

/**
 * At the ports of its host that are handed on to a microVM. A TCP connection is accepted, and held unread until the
 * microVM runs; then its bytes go to the guest and back, by way of the host's own port. So nothing of it is lost, while memory is bounded by the
 * buffers of its sockets. Of UDP a datagram is only the knock; who sent it sends it again.
 */
export class NetworkDoor implements Door {
  readonly #servers: Server[] = [];
  readonly #datagrams: Datagrams[] = [];
  /** With the port of the host that each came to. */
  readonly #held: HeldConnections<number>;

  private constructor(
    private readonly knocked: Knocked,
    private readonly way: Way,
    log: Logger,
  ) {
    this.#held = new HeldConnections((socket) => socket.resetAndDestroy(), log);
  }

  /** @throws Error of the socket when a port is not to be had; nothing is left open then. */
  static async open(
    forwards: readonly PortForward[],
    knocked: Knocked,
    log: Logger,
    way: Way = OWN_PORT,
  ): Promise<NetworkDoor> {
    const door = new NetworkDoor(knocked, way, log);
    try {
      for (const { protocol, hostPort } of forwards) await door.#listen(protocol, hostPort);
      return door;
    } catch (error) {
      door.close();
      throw error;
    }
  }

  get held(): number {
    return this.#held.size;
  }

  #listen(protocol: 'tcp' | 'udp', port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (protocol === 'tcp') {
        // Nothing is read before the guest can take it.
        const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) =>
          this.#hold(socket, port),
        );
        this.#servers.push(server);
        server.on('error', reject).listen({ port, host: '0.0.0.0' }, resolve);
      } else {
        const socket = createSocket('udp4', (_, { address }) => void this.knocked({ protocol, port, address }));
        this.#datagrams.push(socket);
        socket.on('error', reject).bind({ port, address: '0.0.0.0' }, resolve);
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
    this.#held.hold(socket, port);
  }

  deliver(): void {
    this.#stopListening();
    this.#held.deliver((port) => ({ guest: connect({ ...this.way(port), allowHalfOpen: true }) }));
  }

  dismiss(): void {
    this.#held.dismiss();
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
