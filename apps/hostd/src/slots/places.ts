import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import { parseProcessStat } from '#density';
import type { MicrovmDriver } from '#microvm';
import { wantedDevices, type HostDescription } from '#protocol';
import { Cgroups } from '../cgroups/cgroups';
import type { AgentConfig } from '../host/agent-config';
import { holdsPlace } from '../journal/host-record';
import type { HostState } from '../journal/host-state';
import { Fabric, sweepAbandoned, type FabricParts } from '../network/fabric';
import { FabricOwners } from '../network/fabric-owner';
import { isPortTaken } from '../network/host-ports';
import { formatNetwork } from '../network/ipv4';
import { within } from '../microvms/deadline';
import { LINK_PAIRS } from '../network/link-address';
import { SlotKeeper } from './slot-keeper';
import { slotOf, slotsIn, type Slot, type SlotLayout } from './slot-layout';
import type { NetworkState } from './slot-network';

/** Notes of agents about what they have in the kernel; on a file system that a reboot empties, as it empties the kernel. */
const NOTES = '/run/volley-agents';
const SHELLS_MAX = 16;
/** How long the end of the agent waits for those of its shells. */
const SHELLS_END_MS = 2_000;

export interface PlacesParts {
  config: AgentConfig;
  /** Of the host directory: names everything of this agent in the kernel. */
  digest: string;
  slots: number;
  cpus: number;
  driver: Pick<MicrovmDriver, 'prepare' | 'openTap' | 'jail'>;
  /** Processes jailed at the same time. */
  shellsAtOnce: number;
  state: HostState;
  log: Logger;
}

/** What microVMs live in on this host: slots with network, cgroups and jails, as far as this agent has the rights and tools. */
export class Places {
  readonly slots: SlotKeeper;
  readonly cgroups: Cgroups;
  readonly #network: Promise<NetworkState>;
  readonly #owners: FabricOwners;
  readonly #jail: ReturnType<MicrovmDriver['jail']>;

  constructor(private readonly parts: PlacesParts) {
    const { config, digest, slots, cpus, driver, shellsAtOnce, log } = parts;
    this.#owners = new FabricOwners(NOTES);
    const owners = this.#owners;
    this.cgroups = Cgroups.open({ name: digest, log, ...(config.cgroups === 'off' ? { hierarchies: [] } : {}) });
    this.#leaveNote(owners);
    this.#jail = driver.jail();
    for (const { name, reason } of this.#jail.missing)
      log.warn({ barrier: name, reason }, 'a barrier of the jail is missing');
    const layout = layoutOf(config);
    this.#network = this.#openNetwork(owners, layout);
    this.slots = new SlotKeeper({
      size: slots,
      layout,
      driver,
      barriers: this.#jail.barriers,
      cgroups: this.cgroups,
      network: this.#network,
      shellsAtOnce,
      warmShells: config.warmShells ?? Math.min(SHELLS_MAX, 2 * cpus),
      log,
      ...this.#refusal(),
    });
  }

  /** So that a later agent can tell whose things these are, should this one never come back. */
  #leaveNote(owners: FabricOwners): void {
    const { config, digest: name, log } = this.parts;
    try {
      const identity = { pid: process.pid, startTicks: ownStartTicks() };
      owners.write({ ...owners.read(name), name, hostDir: config.hostDir, ...identity });
    } catch (error) {
      log.debug({ err: error as Error }, 'no note about what this agent has in the kernel');
    }
  }

  #refusal(): { refusal?: string } {
    const { missing } = this.#jail;
    if (this.parts.config.jail !== 'strict' || missing.length === 0) return {};
    const reasons = missing.map(({ name, reason }) => `${name} (${reason})`).join(', ');
    return { refusal: `this host is to jail strictly and cannot put up these barriers: ${reasons}` };
  }

  /** Whether there is a network is known, and what barriers there are: for the description of this host. */
  async describe(): Promise<Required<Pick<HostDescription, 'jail' | 'network'>>> {
    const { barriers, missing } = this.#jail;
    const state = await this.#network;
    const pool = formatNetwork(this.parts.config.networkPool);
    return {
      jail: { barriers: [...barriers], missing: [...missing] },
      network: 'fabric' in state ? { available: true, pool } : { available: false, reason: state.unavailable },
    };
  }

  /** The network of this host, when it has one. */
  async fabric(): Promise<Fabric | undefined> {
    const state = await this.#network;
    return 'fabric' in state ? (state.fabric as Fabric) : undefined;
  }

  async #openNetwork(owners: FabricOwners, layout: (slot: number) => Slot): Promise<NetworkState> {
    const { config, digest, state, log } = this.parts;
    const sweepMore = (name: string): boolean => this.cgroups.destroyOf(name);
    if (config.network === 'off') {
      await sweepAbandoned({ owners, log, sweepMore }).catch(() => undefined);
      return { unavailable: 'it is switched off (VOLLEY_NETWORK=off)' };
    }
    const residents = [...state.incarnations.values()].flatMap((record) => {
      const { slot, spec } = record;
      const { network } = wantedDevices(spec);
      return !holdsPlace(record) || slot === undefined || !network ? [] : [{ slot: layout(slot), network }];
    });
    const parts: FabricParts = {
      name: digest,
      hostDir: config.hostDir,
      pool: config.networkPool,
      blocked: config.networkBlocked,
      owners,
      identity: { pid: process.pid, startTicks: ownStartTicks() },
      sweepMore,
      log,
    };
    try {
      const fabric = await Fabric.open(parts, residents, layout);
      log.info({ namespace: fabric.namespacePath, mtu: fabric.mtu }, 'microVMs can have a network');
      return { fabric, limit: slotsIn(config.networkPool, LINK_PAIRS), isPortTaken };
    } catch (error) {
      const { message } = error as Error;
      log.warn({ reason: message }, 'microVMs have no network here');
      return { unavailable: message };
    }
  }

  /** Lets go. What microVMs live in stays; when none is left, nothing stays. */
  async close(microvms: number): Promise<void> {
    await within(this.slots.stop(), SHELLS_END_MS, undefined);
    if (microvms > 0) return;
    this.cgroups.close();
    try {
      const fabric = await this.fabric();
      if (fabric) await fabric.close();
      else this.#owners.remove(this.parts.digest);
    } catch (error) {
      this.parts.log.warn({ err: error as Error }, 'the network could not be removed; the next agent takes it over');
    }
  }
}

function layoutOf({ uidBase, networkPool: pool }: AgentConfig): (slot: number) => Slot {
  const layout: SlotLayout = { uidBase, pool };
  return (number) => slotOf(number, layout);
}

function ownStartTicks(): string {
  return parseProcessStat(readFileSync('/proc/self/stat', 'latin1'))?.startTicks ?? '0';
}
