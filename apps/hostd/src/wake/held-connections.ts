import type { Socket } from 'node:net';
import type { Logger } from 'pino';

/** Connections that one door of a microVM holds; more are turned away. */
export const HELD_MOST = 32;
/** How long one is held, ms: as long as a client that waits for an answer may be expected to. */
const HELD_MS = 30_000;
/** Time for a connection to the guest, ms. */
const CONNECT_MS = 10_000;

/** Connections that wait for a microVM to run, each no longer than it may. */
export class HeldConnections<Of> {
  readonly #held = new Map<Socket, { of: Of; late: NodeJS.Timeout }>();

  constructor(
    private readonly turnAway: (socket: Socket) => void,
    private readonly log: Logger,
  ) {}

  get size(): number {
    return this.#held.size;
  }

  /** Keeps one, with what is to be known of it, until it is delivered or its time is over; called again, its time begins anew. */
  hold(socket: Socket, of: Of, forMs = HELD_MS): void {
    const before = this.#held.get(socket);
    if (before) clearTimeout(before.late);
    else socket.once('close', () => this.#letGo(socket));
    const late = setTimeout(() => this.turnAway(socket), forMs);
    late.unref();
    this.#held.set(socket, { of, late });
  }

  /** Hands each on. `head`: what it has said and was read already. */
  deliver(reach: (of: Of) => { guest: Socket; head?: string }): void {
    for (const [socket, { of }] of this.#held) {
      this.#letGo(socket);
      const { guest, head } = reach(of);
      this.#join(socket, guest, head);
    }
  }

  dismiss(): void {
    for (const socket of this.#held.keys()) {
      this.#letGo(socket);
      this.turnAway(socket);
    }
  }

  #letGo(socket: Socket): void {
    clearTimeout(this.#held.get(socket)?.late);
    this.#held.delete(socket);
  }

  #join(socket: Socket, guest: Socket, head: string | undefined): void {
    guest.setTimeout(CONNECT_MS, () => guest.destroy(new Error(`no answer within ${CONNECT_MS} ms`)));
    guest.once('connect', () => {
      guest.setTimeout(0);
      if (head !== undefined) guest.write(head);
      socket.pipe(guest).pipe(socket);
    });
    guest.on('error', (error) => {
      this.log.debug({ err: error }, 'a connection that woke a microVM did not reach its guest');
      this.turnAway(socket);
    });
    socket.once('close', () => guest.destroy());
    guest.once('close', () => socket.destroySoon());
  }
}
