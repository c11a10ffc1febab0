import { chmodSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { IncarnationRecord } from '../journal/host-record';
import { VSOCK_SOCKET, type GuestSockets } from '../microvms/guest-sockets';
import { parseConnectLine } from './connect-line';
import type { Door, Knocked } from './door';
import { HELD_MOST, HeldConnections } from './held-connections';

/** Time to say which port of the guest is wanted, ms: as long as the VMM gives it. */
const LINE_MS = 2_000;
/** Who found this socket before its name led to the VMM again arrives within, ms. */
const STRAGGLERS_MS = 100;

/** What one has said so far. */
interface Saying {
  line: string;
  stopReading: () => void;
}

/**
 * At the socket by which programs of the host reach a guest by vsock. Who says `CONNECT port` is held until the microVM runs, and then joined to
 * the socket of its VMM, which hears the same line and answers it. What is said behind the line waits in the buffers of the connection.
 */
export class VsockDoor implements Door {
  readonly #server: Server;
  readonly #held: HeldConnections<Saying>;
  #taken: bigint | undefined;
  #to: Readonly<IncarnationRecord> | undefined;

  private constructor(
    private readonly sockets: GuestSockets,
    private readonly microvmId: string,
    private readonly knocked: Knocked,
    log: Logger,
  ) {
    this.#held = new HeldConnections((socket) => socket.destroy(), log);
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#arrived(socket));
  }

  /** From now on the name of this microVM among the sockets of guests is this. @throws Error of the socket or the file system. */
  static async open(sockets: GuestSockets, microvmId: string, knocked: Knocked, log: Logger): Promise<VsockDoor> {
    const door = new VsockDoor(sockets, microvmId, knocked, log);
    try {
      await door.#listen();
      return door;
    } catch (error) {
      door.close();
      throw error;
    }
  }

  async #listen(): Promise<void> {
    const draft = this.sockets.draft(this.microvmId);
    await new Promise<void>((resolve, reject) => {
      this.#server.on('error', reject).listen(draft, resolve);
    });
    // As that of a VMM. Nobody finds it before it has its name.
    chmodSync(draft, 0o600);
    this.#taken = this.sockets.take(this.microvmId, draft);
  }

  get held(): number {
    return this.#held.size;
  }

  #arrived(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    if (this.#held.size >= HELD_MOST) return void socket.destroy();
    const saying: Saying = { line: '', stopReading: () => void socket.off('readable', heard).off('end', ended) };
    const ended = (): void => void socket.destroy();
    const heard = (): void => {
      // One byte after another: what follows the line is the guest's.
      for (let byte: Buffer | null; (byte = socket.read(1) as Buffer | null) !== null;) {
        saying.line += byte.toString('latin1');
        const port = parseConnectLine(saying.line);
        if (port === 'incomplete') continue;
        saying.stopReading();
        if (port === 'wrong' || !this.knocked({ protocol: 'vsock', port })) socket.destroy();
        else this.#held.hold(socket, saying);
        return;
      }
    };
    this.#held.hold(socket, saying, LINE_MS);
    if (this.#to) this.#handOn(this.#to);
    else socket.on('readable', heard).on('end', ended);
  }

  deliver(to: Readonly<IncarnationRecord>): void {
    this.#to = to;
    this.#handOn(to);
    setTimeout(() => this.close(), STRAGGLERS_MS);
  }

  #handOn({ identity }: Readonly<IncarnationRecord>): void {
    const path = join(identity!.directory, VSOCK_SOCKET);
    this.#held.deliver(({ line, stopReading }) => {
      stopReading();
      return { guest: connect({ path, allowHalfOpen: true }), head: line };
    });
  }

  dismiss(): void {
    this.#held.dismiss();
  }

  close(): void {
    if (this.#taken !== undefined) this.sockets.give(this.microvmId, this.#taken);
    this.#taken = undefined;
    this.#server.close();
    this.dismiss();
  }
}
