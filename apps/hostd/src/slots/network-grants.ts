import type { Network } from '#protocol';

export type IsPortTaken = (protocol: 'tcp' | 'udp', port: number) => boolean;

/** What the holders of slots may have of the network: their wishes, and the host ports that are handed on to them. */
export class NetworkGrants {
  readonly #wishes = new Map<number, Network>();
  /** With the slot that each is handed on to. */
  readonly #ports = new Map<string, number>();

  /** Why these forwards cannot be granted, if so. `isTaken`: whether a program of the host listens on a port. */
  refusalOf({ forwards }: Network, isTaken: IsPortTaken): string | undefined {
    const asked = new Set<string>();
    for (const { protocol, hostPort } of forwards) {
      const port = `${protocol} port ${hostPort}`;
      if (asked.has(port)) return `${port} of the host is to be handed on twice`;
      asked.add(port);
      if (this.#ports.has(port)) return `${port} of this host is handed on to another microVM already`;
      if (isTaken(protocol, hostPort)) return `a program of this host listens on its ${port}; choose another port`;
    }
    return undefined;
  }

  grant(slot: number, network: Network): void {
    this.#wishes.set(slot, network);
    for (const { protocol, hostPort } of network.forwards) this.#ports.set(`${protocol} port ${hostPort}`, slot);
  }

  of(slot: number): Network | undefined {
    return this.#wishes.get(slot);
  }

  /** Once the slot is scrubbed. */
  withdraw(slot: number): void {
    for (const { protocol, hostPort } of this.#wishes.get(slot)?.forwards ?? []) {
      this.#ports.delete(`${protocol} port ${hostPort}`);
    }
    this.#wishes.delete(slot);
  }
}
