import type { Logger } from 'pino';
import type { MicrovmDriver } from '#microvm';
import type { Network } from '#protocol';
import type { Fabric } from '../network/fabric';
import { hasWishes } from '../network/rules';
import { NetworkGrants, type IsPortTaken } from './network-grants';
import type { Slot } from './slot-layout';
import type { SlotPool } from './slot-pool';

/** Before a slot that could not be scrubbed is tried again, ms. */
const RETRY_MS = 1_000;
/** Free slots that have a tap, kept ready for starts that want a network. */
export const TAPS_AHEAD = 32;

export type NetworkState = NetworkOf | { unavailable: string };

export interface NetworkOf {
  fabric: Pick<Fabric, 'hasTap' | 'makeTaps' | 'remakeTap' | 'grant' | 'scrub' | 'namespacePath' | 'mtu'>;
  /** Slots from this number on have no address. */
  limit: number;
  isPortTaken: IsPortTaken;
}

export interface PortKeeper {
  /** Whether this agent listens on the ports of a microVM in its place, until that has them. */
  keeps(microvmId: string): boolean;
  /** Whether a port belongs to a suspended microVM that is to be woken by it; not to this one. */
  isKept(protocol: 'tcp' | 'udp', port: number, except: string | undefined): boolean;
}

export interface SlotNetworkParts {
  pool: SlotPool;
  layout: (number: number) => Slot;
  driver: Pick<MicrovmDriver, 'openTap'>;
  /** The network, or why there is none; never rejects. Starts that want one wait for it. */
  network: Promise<NetworkState>;
  isStopped: () => boolean;
  /** It is known now what there is. */
  settled: () => void;
  log: Logger;
}

/** The network of the places: their taps, made ahead of need, and what whoever is in a place may have of it. */
export class SlotNetwork {
  readonly #grants = new NetworkGrants();
  #portKeeper: PortKeeper | undefined;
  #state: NetworkState = { unavailable: 'it is still being set up; ask again in a moment' };

  constructor(private readonly parts: SlotNetworkParts) {
    const { pool, network, settled } = parts;
    void network.then((state) => {
      this.#state = state;
      for (let number = 0; number < pool.size; number++) if (this.hasTap(number)) pool.note(number, { tap: true });
      settled();
    });
  }

  get #there(): NetworkOf | undefined {
    return 'fabric' in this.#state ? this.#state : undefined;
  }

  /** Slots below this number have an address; undefined: there is no network. */
  get limit(): number | undefined {
    return this.#there?.limit;
  }

  /** MTU of guests' interfaces. */
  get mtu(): number | undefined {
    return this.#there?.fabric.mtu;
  }

  hasTap(number: number): boolean {
    return this.#there?.fabric.hasTap(number) === true;
  }

  /** Who keeps the ports of suspended microVMs. */
  askAboutPorts(keeper: PortKeeper): void {
    this.#portKeeper = keeper;
  }

  /** Why these wishes cannot be granted, if so. */
  refusalOf(network: Network, microvmId: string | undefined): string | undefined {
    const state = this.#state;
    if ('unavailable' in state) return `this host cannot give microVMs a network: ${state.unavailable}`;
    const keeper = this.#portKeeper;
    if (microvmId !== undefined && keeper?.keeps(microvmId)) return this.#grants.refusalOf(network, () => false);
    return this.#grants.refusalOf(
      network,
      (protocol, port) => state.isPortTaken(protocol, port) || keeper?.isKept(protocol, port, microvmId) === true,
    );
  }

  /** Notes the wishes of who is in a slot from now on, until it is scrubbed. */
  grant(number: number, network: Network): void {
    this.#grants.grant(number, network);
  }

  isGranted(number: number): boolean {
    return this.#grants.of(number) !== undefined;
  }

  /** Puts the wishes of who is in a slot into force, tap included. Nothing to wait for, usually. */
  async ready(slot: Slot): Promise<void> {
    const wanted = this.#grants.of(slot.number);
    if (!wanted) return;
    const state = await this.parts.network;
    if ('unavailable' in state) throw new Error(state.unavailable);
    if (!this.hasTap(slot.number)) await this.#makeTaps(state, [slot]);
    if (hasWishes(wanted)) await state.fabric.grant(slot, wanted);
  }

  /** Opens the tap of a slot, and makes it anew when somebody has removed it. The caller closes it. @throws VmmLaunchError, ToolError */
  async openTap(slot: Slot): Promise<number> {
    if (!this.#there) throw new Error('there is no network here');
    const { fabric } = this.#there;
    const open = (): number => this.parts.driver.openTap(slot.tap, fabric.namespacePath);
    try {
      return open();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENODEV') throw error;
      this.parts.log.error({ tap: slot.tap }, 'somebody has removed a tap of this host; it is made anew');
      await fabric.remakeTap(slot);
      return open();
    }
  }

  /** Takes back what was granted, again and again until it could be done. False when the agent ended before. */
  async scrub(slot: Slot): Promise<boolean> {
    for (;;) {
      try {
        const state = await this.parts.network;
        if ('fabric' in state) await state.fabric.scrub(slot);
        this.#grants.withdraw(slot.number);
        return true;
      } catch (error) {
        this.parts.log.error(
          { err: error as Error, slot: slot.number },
          'a slot could not be scrubbed; it is tried again',
        );
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref());
        if (this.parts.isStopped()) return false;
      }
    }
  }

  /** Makes taps for free slots when too few of those have one. @throws ToolError */
  async makeAhead(): Promise<void> {
    const network = this.#there;
    if (!network) return;
    const { pool, layout } = this.parts;
    const missing: Slot[] = [];
    let ready = 0;
    for (let number = 0; number < Math.min(pool.size, network.limit) && missing.length < TAPS_AHEAD; number++) {
      if (!pool.isFree(number)) continue;
      if (!this.hasTap(number)) missing.push(layout(number));
      else if (++ready > TAPS_AHEAD / 2) return;
    }
    if (missing.length > 0) await this.#makeTaps(network, missing);
  }

  async #makeTaps({ fabric }: NetworkOf, slots: readonly Slot[]): Promise<void> {
    await fabric.makeTaps(slots);
    for (const { number } of slots) this.parts.pool.note(number, { tap: true });
  }
}
