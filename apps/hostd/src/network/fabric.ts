import { randomBytes } from 'node:crypto';
import { existsSync, rmSync, statfsSync, statSync } from 'node:fs';
import type { Logger } from 'pino';
import type { Network } from '#protocol';
import type { Slot } from '../slots/slot-layout';
import { isAbandoned, type FabricOwner, type FabricOwners } from './fabric-owner';
import { formatAddress, formatNetwork, parseAddress, type Ipv4Network } from './ipv4';
import { chooseLink } from './link-address';
import { addSlots, changeMarks, closePorts, grantWishes, hostRules, namespaceRules, openPorts } from './rules';
import { revokeWishes, TABLE, UPLINK } from './rules';
import { findTool, runTool, ToolError } from './tools';

const NAMESPACES = '/run/netns';
const NSFS_MAGIC = 0x6e736673;
/** Taps made with one call. */
const BATCH = 64;

/** Why there is no network here. For people, as it is. */
export class NoNetworkError extends Error {
  override readonly name = 'NoNetworkError';
}

export interface FabricParts {
  /** Of the agent; names its namespace (`volley-NAME`), its table on the host (`volley_NAME`) and its link (`vlyNAME`). At most 12 characters. */
  name: string;
  hostDir: string;
  pool: Ipv4Network;
  /** Networks that the operator forbids to all microVMs. */
  blocked: readonly Ipv4Network[];
  owners: FabricOwners;
  identity: { pid: number; startTicks: string };
  log: Logger;
  /** Network namespace that counts as the host's. Default: the agent's own. */
  hostNamespace?: string;
  /** Removes what else a dead agent of this name has left. False: somebody still lives there, and it is to be remembered. */
  sweepMore?: (name: string) => boolean;
}

/** A microVM that lives here when the agent starts. */
export interface Resident {
  slot: Slot;
  network: Network;
}

interface Tools {
  ip: string;
  nft: string;
  sh: string;
}

/**
 * The network namespace of this agent: all taps, their rules and one link to the host's namespace. Changes are made one after
 * another; what the kernel should hold is known here, so that a change that fails is followed by laying everything anew.
 */
export class Fabric {
  readonly namespacePath: string;
  /** Of every tap. */
  mtu = 1_500;
  readonly #tools: Tools;
  readonly #marks = new Map<number, { slot: Slot; mark: number }>();
  readonly #wishes = new Map<number, Resident>();
  #link = { host: '', namespace: '' };
  #last: Promise<unknown> = Promise.resolve();
  readonly #scrubbing = new Map<number, Slot>();
  #scrubbed: Promise<void> | undefined;

  private constructor(
    private readonly parts: FabricParts,
    tools: Tools,
  ) {
    this.#tools = tools;
    this.namespacePath = `${NAMESPACES}/${this.#namespace}`;
  }

  get #namespace(): string {
    return `volley-${this.parts.name}`;
  }
  get #table(): string {
    return `volley_${this.parts.name}`;
  }
  get #linkName(): string {
    return `vly${this.parts.name}`;
  }

  /**
   * Makes the namespace, or takes over the one that an earlier agent on this host directory left, with the rules of those who
   * live in it. @throws NoNetworkError that says what is missing; nothing is left behind then.
   */
  static async open(
    parts: FabricParts,
    residents: readonly Resident[],
    layout: (slot: number) => Slot,
  ): Promise<Fabric> {
    const fabric = new Fabric(parts, requireTools());
    await sweepAbandoned(parts);
    const before = parts.owners.read(parts.name);
    try {
      await fabric.#build(residents, layout, before);
    } catch (error) {
      // Whoever lives here keeps what there is.
      if (residents.length === 0) await fabric.close().catch(() => undefined);
      throw error instanceof NoNetworkError ? error : new NoNetworkError((error as Error).message);
    }
    return fabric;
  }

  async #build(residents: readonly Resident[], layout: (slot: number) => Slot, before?: FabricOwner): Promise<void> {
    const { owners, name, hostDir, identity, log } = this.parts;
    const forwarding = (await this.#host(this.#tools.sh, ['-c', 'cat /proc/sys/net/ipv4/ip_forward'])).trim();
    const hostNetwork = networkId(this.parts.hostNamespace);
    // Whoever leaves last switches it off again, not only the one who switched it on.
    const others = owners.list().filter((owner) => owner.hostNetwork === hostNetwork);
    const forwardingWasOff =
      before?.forwardingWasOff ?? (forwarding === '0' || others.some((owner) => owner.forwardingWasOff));
    // First the note, so that nothing is ever there without one.
    owners.write({ name, hostDir, ...identity, hostNetwork, forwardingWasOff });
    await this.#makeNamespace();
    await this.#makeLink();
    for (const slot of await this.#existingTaps(layout)) this.#marks.set(slot.number, { slot, mark: newMark() });
    for (const [number, mark] of await this.#marksInForce()) {
      const known = this.#marks.get(number);
      if (known) known.mark = mark;
    }
    for (const resident of residents) this.#wishes.set(resident.slot.number, resident);
    await this.#configureTaps([...this.#marks.values()].map(({ slot }) => slot));
    await this.#layRules();
    if (forwarding === '0') {
      log.warn('packets are forwarded by this host from now on (net.ipv4.ip_forward=1): microVMs have a network');
      await this.#host(this.#tools.sh, ['-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward']);
    }
  }

  #host(tool: string, args: readonly string[], input?: string): Promise<string> {
    const { hostNamespace: namespace } = this.parts;
    return runTool(tool, args, {
      ...(input === undefined ? {} : { input }),
      ...(namespace === undefined ? {} : { namespace }),
    });
  }

  #inside(tool: string, args: readonly string[], input?: string): Promise<string> {
    return runTool(tool, args, { ...(input === undefined ? {} : { input }), namespace: this.namespacePath });
  }

  async #makeNamespace(): Promise<void> {
    const { ip, sh } = this.#tools;
    if (!isNamespace(this.namespacePath)) {
      rmSync(this.namespacePath, { force: true });
      await runTool(ip, ['netns', 'add', this.#namespace]);
    }
    const settings = {
      'ipv6/conf/all/disable_ipv6': 1,
      'ipv6/conf/default/disable_ipv6': 1,
      'ipv4/ip_forward': 1,
      'ipv4/conf/all/rp_filter': 1,
      'ipv4/conf/default/rp_filter': 1,
      'ipv4/conf/all/arp_ignore': 1,
      'ipv4/conf/all/accept_redirects': 0,
      'ipv4/conf/all/send_redirects': 0,
      'ipv4/conf/default/send_redirects': 0,
    };
    const script = Object.entries(settings).map(([key, value]) => setting(key, value));
    await this.#inside(sh, ['-c', script.join('\n')]);
  }

  /** The pair of interfaces between the agent's namespace and the host's. */
  async #makeLink(): Promise<void> {
    const { ip, sh } = this.#tools;
    const interfaces = JSON.parse(await this.#host(ip, ['-j', 'addr', 'show'])) as IpInterface[];
    const own = interfaces.find(({ ifname }) => ifname === this.#linkName);
    const kept = own?.addr_info.map(({ local }) => parseAddress(local)).find((address) => address !== undefined);
    if (own && (kept === undefined || !(await this.#hasUplink()))) await this.#host(ip, ['link', 'del', own.ifname]);
    const isThere = own !== undefined && kept !== undefined && (await this.#hasUplink());
    const taken = interfaces.flatMap(({ addr_info }) => addr_info.map(({ local }) => parseAddress(local) ?? -1));
    const address = isThere ? kept : chooseLink(this.parts.pool, this.parts.name, new Set(taken));
    if (address === undefined) {
      throw new NoNetworkError(
        `the host has addresses everywhere at the end of ${formatNetwork(this.parts.pool)}: choose another pool`,
      );
    }
    this.#link = { host: formatAddress(address), namespace: formatAddress(address + 1) };
    this.mtu = await this.#outerMtu();
    if (!isThere) {
      const peer = ['type', 'veth', 'peer', 'name', UPLINK, 'netns', this.#namespace];
      await this.#host(ip, ['link', 'add', this.#linkName, ...peer]);
    }
    await this.#host(sh, ['-c', setting(`ipv6/conf/${this.#linkName}/disable_ipv6`, 1)]);
    // So that a connection to a forwarded port of 127.0.0.1 finds its way, too.
    await this.#host(sh, ['-c', setting(`ipv4/conf/${this.#linkName}/route_localnet`, 1)]);
    const hostSide = [
      `addr replace ${this.#link.host}/31 dev ${this.#linkName}`,
      `link set ${this.#linkName} mtu ${this.mtu} up`,
    ];
    await this.#host(ip, ['-batch', '-'], `${hostSide.join('\n')}\n`);
    const inside = [
      'link set lo up',
      `addr replace ${this.#link.namespace}/31 dev ${UPLINK}`,
      `link set ${UPLINK} mtu ${this.mtu} up`,
      `route replace default via ${this.#link.host}`,
    ];
    await this.#inside(ip, ['-batch', '-'], `${inside.join('\n')}\n`);
  }

  async #hasUplink(): Promise<boolean> {
    return this.#inside(this.#tools.ip, ['link', 'show', 'dev', UPLINK]).then(
      () => true,
      () => false,
    );
  }

  async #outerMtu(): Promise<number> {
    const { ip } = this.#tools;
    const [route] = JSON.parse((await this.#host(ip, ['-j', 'route', 'show', 'default'])) || '[]') as {
      dev?: string;
    }[];
    if (route?.dev === undefined) return 1_500;
    const [link] = JSON.parse(await this.#host(ip, ['-j', 'link', 'show', 'dev', route.dev])) as { mtu?: number }[];
    return link?.mtu === undefined ? 1_500 : Math.min(1_500, Math.max(576, link.mtu));
  }

  /** Names of the taps that are there. */
  async #taps(): Promise<string[]> {
    const links = JSON.parse(await this.#inside(this.#tools.ip, ['-j', 'link', 'show'])) as { ifname: string }[];
    return links.map(({ ifname }) => ifname).filter((name) => /^vt\d+$/.test(name));
  }

  async #existingTaps(layout: (slot: number) => Slot): Promise<Slot[]> {
    return (await this.#taps()).map((name) => layout(Number(name.slice(2))));
  }

  /** Marks of the connections of those who live here: with new ones, their connections would break. */
  async #marksInForce(): Promise<[slot: number, mark: number][]> {
    try {
      const text = await this.#inside(this.#tools.nft, ['-j', 'list', 'map', ...TABLE.split(' '), 'stamp']);
      const { nftables } = JSON.parse(text) as { nftables: { map?: { elem?: [string, number][] } }[] };
      const byAddress = new Map([...this.#marks.values()].map(({ slot }) => [slot.address, slot.number]));
      return nftables
        .flatMap(({ map }) => map?.elem ?? [])
        .map(([address, mark]): [number, number] => [byAddress.get(address) ?? -1, mark])
        .filter(([slot]) => slot >= 0);
    } catch {
      return [];
    }
  }

  async #layRules(): Promise<void> {
    const { pool, blocked } = this.parts;
    const uplinkAddress = this.#link.namespace;
    const wishes = [...this.#wishes.values()];
    await this.#nftInside(namespaceRules({ pool, blocked, uplinkAddress, slots: [...this.#marks.values()], wishes }));
    const forwards = wishes.flatMap(({ network }) => network.forwards);
    await this.#nftHost(hostRules({ table: this.#table, link: this.#linkName, uplinkAddress, forwards }));
  }

  async #nftInside(text: string): Promise<void> {
    if (text.trim() !== '') await this.#inside(this.#tools.nft, ['-f', '-'], `${text}\n`);
  }

  async #nftHost(text: string): Promise<void> {
    if (text.trim() !== '') await this.#host(this.#tools.nft, ['-f', '-'], `${text}\n`);
  }

  /** One change at a time. */
  #change<T>(change: () => Promise<T>): Promise<T> {
    const done = this.#last.then(change);
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** Applies a change of rules; when that fails, lays everything as it should be. */
  async #apply(inside: string, host: string): Promise<void> {
    try {
      await this.#nftInside(inside);
      await this.#nftHost(host);
    } catch (error) {
      this.parts.log.warn({ err: error as Error }, 'a change of the packet filter failed: all of it is laid anew');
      await this.#layRules();
    }
  }

  hasTap(slot: number): boolean {
    return this.#marks.has(slot);
  }

  /** Makes the taps of these slots, those that are there already left out. @throws ToolError */
  makeTaps(slots: readonly Slot[]): Promise<void> {
    return this.#change(async () => {
      const missing = slots.filter(({ number }) => !this.#marks.has(number));
      for (let i = 0; i < missing.length; i += BATCH) await this.#makeBatch(missing.slice(i, i + BATCH));
    });
  }

  async #makeBatch(slots: readonly Slot[]): Promise<void> {
    try {
      await this.#addTaps(slots);
      await this.#configureTaps(slots);
    } catch (error) {
      // Half of a batch would be in the way of the next attempt.
      await this.#removeTaps(slots.map(({ tap }) => tap)).catch(() => undefined);
      throw error;
    }
    const marked = slots.map((slot) => ({ slot, mark: newMark() }));
    for (const one of marked) this.#marks.set(one.slot.number, one);
    await this.#apply(addSlots(marked), '');
  }

  async #addTaps(slots: readonly Slot[]): Promise<void> {
    const lines = slots.map(({ tap }) => `tuntap add dev ${tap} mode tap vnet_hdr\n`);
    await this.#inside(this.#tools.ip, ['-batch', '-'], lines.join(''));
  }

  async #removeTaps(taps: readonly string[]): Promise<void> {
    if (taps.length === 0) return;
    const lines = taps.map((tap) => `link del ${tap}\n`);
    // Those that are not there are left out.
    await this.#inside(this.#tools.ip, ['-force', '-batch', '-'], lines.join('')).catch(() => undefined);
  }

  async #configureTaps(slots: readonly Slot[]): Promise<void> {
    if (slots.length === 0) return;
    const lines = slots.flatMap(({ tap, gateway, address, mac }) => [
      `addr replace ${gateway}/31 dev ${tap}`,
      `link set ${tap} mtu ${this.mtu} up`,
      // Nobody need be asked for it, and nobody can claim it.
      `neigh replace ${address} lladdr ${mac} dev ${tap} nud permanent`,
    ]);
    await this.#inside(this.#tools.ip, ['-batch', '-'], `${lines.join('\n')}\n`);
  }

  /** Puts a microVM's wishes into force. @throws ToolError */
  grant(slot: Slot, network: Network): Promise<void> {
    return this.#change(async () => {
      if (this.#wishes.has(slot.number)) return; // laid when the agent began
      this.#wishes.set(slot.number, { slot, network });
      try {
        await this.#apply(grantWishes(slot, network), openPorts(this.#table, network.forwards));
      } catch (error) {
        this.#wishes.delete(slot.number);
        throw error;
      }
    });
  }

  /**
   * Takes back a slot's wishes and cuts its connections. Resolves when the next tenant may have it. Slots that come together
   * are scrubbed together. @throws ToolError
   */
  scrub(slot: Slot): Promise<void> {
    this.#scrubbing.set(slot.number, slot);
    this.#scrubbed ??= this.#change(() => {
      const slots = [...this.#scrubbing.values()];
      this.#scrubbing.clear();
      this.#scrubbed = undefined;
      return this.#scrubNow(slots);
    });
    return this.#scrubbed;
  }

  async #scrubNow(slots: readonly Slot[]): Promise<void> {
    const revoked = slots.map(({ number }) => this.#wishes.get(number)).filter((wishes) => wishes !== undefined);
    for (const { slot } of revoked) this.#wishes.delete(slot.number);
    const marked = slots.flatMap(({ number }) => {
      const known = this.#marks.get(number);
      if (!known) return [];
      const before = known.mark;
      known.mark = newMark();
      return [{ ...known, before }];
    });
    const inside = [...revoked.map(({ slot, network }) => revokeWishes(slot, network)), changeMarks(marked)].join('\n');
    await this.#apply(
      inside,
      closePorts(
        this.#table,
        revoked.flatMap(({ network }) => network.forwards),
      ),
    );
  }

  /** How taps and policies differ from what they should be. */
  scan(): Promise<Record<'strayTaps' | 'missingTaps' | 'strayPolicies' | 'missingPolicies', string[]>> {
    return this.#change(async () => {
      const taps = await this.#taps();
      const { nft } = this.#tools;
      const text = await this.#inside(nft, ['list', 'table', ...TABLE.split(' ')]).catch(() => '');
      const policies = [...text.matchAll(/^\s*chain (policy_\d+) /gm)].map(([, name]) => name!);
      const ownTaps = [...this.#marks.values()].map(({ slot }) => slot.tap);
      const listed = [...this.#wishes.values()].filter(({ network }) => network.egress === 'listed');
      // A table that is gone altogether lacks all of them, and at least itself.
      const ownPolicies = text === '' ? ['table'] : listed.map(({ slot }) => `policy_${slot.number}`);
      return {
        strayTaps: taps.filter((tap) => !ownTaps.includes(tap)),
        missingTaps: ownTaps.filter((tap) => !taps.includes(tap)),
        strayPolicies: policies.filter((policy) => !ownPolicies.includes(policy)),
        missingPolicies: ownPolicies.filter((policy) => !policies.includes(policy)),
      };
    });
  }

  /** Removes taps that nobody knows, and makes those anew that have vanished. @throws ToolError */
  repair(stray: readonly string[], missing: readonly string[]): Promise<void> {
    return this.#change(async () => {
      await this.#removeTaps(stray);
      const slots = [...this.#marks.values()].map(({ slot }) => slot).filter(({ tap }) => missing.includes(tap));
      if (slots.length === 0) return;
      await this.#addTaps(slots);
      await this.#configureTaps(slots);
    });
  }

  /** Makes a tap anew that has vanished, with its place in the rules. @throws ToolError */
  remakeTap(slot: Slot): Promise<void> {
    return this.#change(async () => {
      await this.#removeTaps([slot.tap]);
      await this.#addTaps([slot]);
      await this.#configureTaps([slot]);
      await this.#layRules();
    });
  }

  /** Lays all rules as they should be. */
  relay(): Promise<void> {
    return this.#change(() => this.#layRules());
  }

  /** Removes everything: for an agent that leaves no microVM behind. */
  async close(): Promise<void> {
    await this.#last;
    const { owners, identity, name, hostDir } = this.parts;
    await destroyFabric(this.parts, { ...identity, name, hostDir, ...owners.read(name) });
  }
}

/** Removes what dead agents left whose host directory is gone. */
export async function sweepAbandoned(
  parts: Pick<FabricParts, 'owners' | 'log' | 'hostNamespace' | 'sweepMore'>,
): Promise<void> {
  for (const owner of parts.owners.list()) {
    if (!isAbandoned(owner) || parts.sweepMore?.(owner.name) === false) continue;
    const { name, hostDir } = owner;
    parts.log.warn({ name, hostDir }, 'what an agent left in the kernel, and nobody owns any more, is removed');
    await destroyFabric(parts, owner).catch((error: unknown) =>
      parts.log.warn({ err: error }, 'it could not be removed'),
    );
  }
}

/** Removes namespace, link, table and note of an agent, as far as they are there. @throws ToolError, or NoNetworkError without the tools */
async function destroyFabric(parts: Pick<FabricParts, 'owners' | 'hostNamespace'>, owner: FabricOwner): Promise<void> {
  const { ip, nft, sh } = requireTools();
  const { owners, hostNamespace: namespace } = parts;
  const host = (tool: string, args: string[], input?: string): Promise<string> =>
    runTool(tool, args, {
      ...(input === undefined ? {} : { input }),
      ...(namespace === undefined ? {} : { namespace }),
    });
  const table = `table inet volley_${owner.name}`;
  await host(nft, ['-f', '-'], `${table} {}\ndelete ${table}\n`);
  const link = `vly${owner.name}`;
  if ((await host(ip, ['-j', 'link', 'show'])).includes(`"${link}"`)) await host(ip, ['link', 'del', link]);
  const path = `${NAMESPACES}/volley-${owner.name}`;
  if (isNamespace(path)) await runTool(ip, ['netns', 'del', `volley-${owner.name}`]);
  else rmSync(path, { force: true });
  owners.remove(owner.name);
  const here = networkId(namespace);
  const isLast = !owners.list().some(({ hostNetwork }) => hostNetwork === here);
  if (owner.forwardingWasOff && owner.hostNetwork === here && isLast) {
    await host(sh, ['-c', 'echo 0 >/proc/sys/net/ipv4/ip_forward']);
  }
}

interface IpInterface {
  ifname: string;
  addr_info: { local: string }[];
}

/** 0 is what connections have that nobody marked. */
function newMark(): number {
  return randomBytes(4).readUInt32LE(0) || 1;
}

/** An IPv6 setting is not there where IPv6 is switched off: all the better. */
function setting(key: string, value: number): string {
  const path = `/proc/sys/net/${key}`;
  return key.startsWith('ipv6/')
    ? `[ ! -e ${path} ] || echo ${value} >${path} || exit 1`
    : `echo ${value} >${path} || exit 1`;
}

/** Names a network namespace: its inode. */
function networkId(path = '/proc/self/ns/net'): string {
  return String(statSync(path).ino);
}

function isNamespace(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch {
    return false;
  }
}

/** @throws NoNetworkError that names what must be installed or allowed. */
function requireTools(): Tools {
  if (process.getuid?.() !== 0) {
    throw new NoNetworkError('the host agent does not run as root: it cannot make network namespaces and taps');
  }
  if (!existsSync('/dev/net/tun')) {
    throw new NoNetworkError('there is no /dev/net/tun: load the kernel module tun');
  }
  const of = (name: string, debianPackage: string): string => {
    const path = findTool(name);
    if (path === undefined) throw new NoNetworkError(`${name} is not installed (Debian package ${debianPackage})`);
    return path;
  };
  of('nsenter', 'util-linux');
  return { ip: of('ip', 'iproute2'), nft: of('nft', 'nftables'), sh: of('sh', 'dash') };
}

export { ToolError };
