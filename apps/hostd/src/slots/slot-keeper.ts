import type { Logger } from 'pino';
import type { Barrier, MicrovmDriver, Shell, ShellSpec } from '#microvm';
import type { Network } from '#protocol';
import type { Cgroups } from '../cgroups/cgroups';
import { ReservedShells, type ReservedShell } from './reserved-shells';
import { endShell, ShellsAhead } from './shells-ahead';
import type { Slot } from './slot-layout';
import { SlotNetwork, type NetworkState } from './slot-network';
import { SlotPool } from './slot-pool';

/** Files that a shell made ahead of need may have its host write, at most: disks that are larger get a process of their own making. */
export const SHELL_FILE_BYTES = 16 * 1024 ** 3;
/** Descriptors of a VMM: those it is born with, one for each device and for each connection of its guest's vsock. */
const OPEN_FILES = 1_024;
const RETRY_MS = 1_000;
/** After something was taken that is made ahead: several starts in a row are served first. */
const REFILL_MS = 20;

export interface SlotKeeperParts {
  /** How many slots there are. */
  size: number;
  layout: (number: number) => Slot;
  driver: Pick<MicrovmDriver, 'prepare' | 'openTap'>;
  /** Barriers that can be put up here. */
  barriers: readonly Barrier[];
  cgroups: Pick<Cgroups, 'pathsOf'>;
  /** The network, or why there is none; never rejects. Starts that want one wait for it. */
  network: Promise<NetworkState>;
  /** Why nothing may start here at all, if so. */
  refusal?: string;
  /** Shells kept ready, and how many are made at the same time. */
  warmShells: number;
  shellsAtOnce: number;
  log: Logger;
}

type Taken = { slot: Slot } | { refused: string };

/** A shell in a slot of its own, for who makes something of it that is then reserved. */
export interface LentShell {
  slot: number;
  shell: Shell;
  /** Ends it; the slot is free when it has ended. */
  giveBack(): void;
}

/**
 * The places of this host. A place is taken by one incarnation, and scrubbed before the next one gets it; taps and jailed shells
 * are made ahead of need, in the background, so that nothing slow is left for a start.
 */
export class SlotKeeper {
  readonly network: SlotNetwork;
  readonly #pool: SlotPool;
  readonly #shells: ShellsAhead;
  /** Shells that wait for starts of one kind; others take their slots where there is no other. */
  readonly #reserved = new ReservedShells();
  readonly #sources = new WeakMap<Shell, object>();
  /** Ends of shells whose slot was taken from them. */
  readonly #leaving = new Map<number, Promise<void>>();
  #reservedTaken: () => void = () => undefined;
  readonly #held = new Set<number>();
  #scrubbing = 0;
  #making = false;
  #work: Promise<void> = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;
  #stopped = true;

  constructor(private readonly parts: SlotKeeperParts) {
    const { size, layout, driver, network, log } = parts;
    const pool = (this.#pool = new SlotPool(size));
    const isStopped = (): boolean => this.#stopped;
    const settled = (): void => this.#refill();
    this.network = new SlotNetwork({ pool, layout, driver, network, isStopped, settled, log });
    this.#shells = new ShellsAhead({
      pool,
      make: (number) => driver.prepare(this.shellSpec(this.slot(number), SHELL_FILE_BYTES)),
      hasTap: (number) => this.network.hasTap(number),
      most: parts.warmShells,
      atOnce: parts.shellsAtOnce,
      isStopped,
      wanted: (ms) => this.#later(ms),
      log,
    });
  }

  /** Slots that nobody holds and that are clean. */
  get free(): number {
    return this.#pool.free + this.#reserved.size;
  }
  /** Shells that wait for a microVM. */
  get shells(): number {
    return this.#shells.size;
  }

  /** Slots that are being scrubbed. */
  get scrubbing(): number {
    return this.#scrubbing;
  }

  /** Slots that incarnations hold. */
  held(): number[] {
    return [...this.#held];
  }

  /** Whether nothing may be in this slot: nobody holds it, it is not being scrubbed, and no shell is or is being made there. */
  isIdle(number: number): boolean {
    if (number >= this.parts.size) return !this.#held.has(number);
    return this.#pool.isFree(number) && !this.#shells.has(number);
  }

  slot(number: number): Slot {
    return this.parts.layout(number);
  }

  /** Those that wait for starts of one kind, or of any. */
  reserved(key?: string): ReservedShell[] {
    return key === undefined ? this.#reserved.all() : [...this.#reserved.of(key)];
  }

  /** Told when a start has taken one of them, or its slot. */
  onReservedTaken(told: () => void): void {
    this.#reservedTaken = told;
  }

  /** A shell for something that is to be reserved; undefined when no slot is free. @throws VmmLaunchError */
  async lend(network: boolean): Promise<LentShell | undefined> {
    if (this.#stopped) return undefined;
    const { limit } = this.network;
    if (network && limit === undefined) return undefined;
    const number = network ? this.#pool.take('network', limit) : this.#pool.take('plain');
    if (number === undefined) return undefined;
    const slot = this.slot(number);
    try {
      const shell =
        this.takeShell(slot, 0) ?? (await this.parts.driver.prepare(this.shellSpec(slot, SHELL_FILE_BYTES)));
      this.#later(REFILL_MS);
      return { slot: number, shell, giveBack: () => endShell(this.#pool, number, shell) };
    } catch (error) {
      this.#pool.give(number);
      throw error;
    }
  }

  /** What was lent waits from now on for a start of its kind. */
  reserve(reserved: ReservedShell): void {
    const { slot, shell, source } = reserved;
    if (this.#stopped) return endShell(this.#pool, slot, shell);
    this.#sources.set(shell, source);
    this.#reserved.add(reserved);
    void shell.ended.then(() => {
      if (!this.#reserved.drop(reserved)) return;
      this.parts.log.warn({ slot, pid: shell.pid }, 'a clone that waited in a pool ended');
      this.#pool.give(slot);
    });
  }

  endReserved(reserved: ReservedShell): void {
    if (this.#reserved.drop(reserved)) endShell(this.#pool, reserved.slot, reserved.shell);
  }

  /** Takes a place for a start, with the host ports that it wants, or says why that cannot be. `key`: what may be reserved for it. */
  take(network: Network | undefined, { key, microvmId }: { key?: string | undefined; microvmId?: string } = {}): Taken {
    if (this.parts.refusal !== undefined) return { refused: this.parts.refusal };
    if (network) {
      const refused = this.network.refusalOf(network, microvmId);
      if (refused !== undefined) return { refused };
    }
    const number =
      this.#takeReserved(network, key) ??
      this.#pool.take(network ? 'network' : 'plain', network ? this.network.limit : undefined) ??
      this.#takeFromReserved(network);
    if (number === undefined) return { refused: this.#noneFree(network) };
    this.#shells.noteStart(network ? 'network' : 'plain');
    this.#hold(number, network);
    if (network) this.#later(REFILL_MS);
    return { slot: this.slot(number) };
  }

  #takeReserved(network: Network | undefined, key: string | undefined): number | undefined {
    const reserved = key === undefined ? undefined : this.#reserved.take(key, this.#servesWith(network));
    if (!reserved) return undefined;
    this.#shells.put(reserved.slot, reserved.shell);
    this.#reservedTaken();
    return reserved.slot;
  }

  /** No start is refused for something that waits. */
  #takeFromReserved(network: Network | undefined): number | undefined {
    const reserved = this.#reserved.takeAny(this.#servesWith(network));
    if (!reserved) return undefined;
    this.#leave(reserved.slot, reserved.shell);
    this.#reservedTaken();
    return reserved.slot;
  }

  /** Ends it; what is to be in its slot next waits for that. */
  #leave(number: number, shell: Shell): void {
    shell.discard();
    this.#leaving.set(
      number,
      shell.ended.then(() => void this.#leaving.delete(number)),
    );
  }

  #servesWith(network: Network | undefined): (slot: number) => boolean {
    const { limit = 0 } = this.network;
    return network ? (slot) => slot < limit : () => true;
  }

  #noneFree(network: Network | undefined): string {
    const { size } = this.parts;
    if (network && this.#pool.free > 0) {
      return `no slot with a network address free: the pool has addresses for ${this.network.limit} of ${size} slots`;
    }
    return `no slot free: ${size - this.#pool.free - this.#scrubbing} of ${size} slots are in use, ${this.#scrubbing} are being scrubbed`;
  }

  #hold(number: number, network: Network | undefined): void {
    this.#held.add(number);
    if (network) this.network.grant(number, network);
  }

  /** Notes that an incarnation holds this slot already. The network has its wishes from the time when it was opened. */
  restore(number: number, network: Network | undefined): void {
    // A slot beyond those that are offered now is held all the same.
    if (!this.#pool.claim(number) && number < this.parts.size) {
      this.parts.log.error({ slot: number }, 'two incarnations of the journal hold one slot');
    }
    this.#hold(number, network);
  }

  /** Makes a place ready that was taken: with its tap, and with its wishes in force. Nothing to wait for, usually. */
  async ready(slot: Slot): Promise<void> {
    await this.#leaving.get(slot.number);
    await this.network.ready(slot);
  }

  /** What a VMM in this slot lives in. */
  shellSpec(slot: Slot, fileBytes: number): ShellSpec {
    const { barriers, cgroups } = this.parts;
    // Without the right to change them, ids stay the agent's.
    const own = !barriers.includes('ids');
    const paths = cgroups.pathsOf(slot);
    return {
      barriers,
      uid: own ? process.getuid!() : slot.uid,
      gid: own ? process.getgid!() : slot.gid,
      openFiles: OPEN_FILES,
      fileBytes,
      ...(paths.length === 0 ? {} : { cgroupPaths: paths }),
    };
  }

  /**
   * The shell that waits in this slot, if there is one and it will do. It is the caller's from now on. `source`: what the microVM goes on
   * from, should the shell be primed.
   */
  takeShell(slot: Slot, fileBytes: number, source?: object): Shell | undefined {
    const shell = this.#shells.get(slot.number);
    if (!shell) return undefined;
    this.#shells.drop(slot.number);
    const primed = this.#sources.get(shell);
    if (fileBytes <= SHELL_FILE_BYTES && (primed === undefined || primed === source)) return shell;
    shell.discard();
    return undefined;
  }

  /**
   * Gives a place back whose process is gone. It is free when it is scrubbed; one that cannot be scrubbed is tried again, and
   * nobody gets it until then.
   */
  giveBack(slot: Slot): void {
    const { number } = slot;
    this.#held.delete(number);
    const unused = this.#shells.get(number);
    if (unused && this.#sources.has(unused)) {
      // Its start came to nothing before it was used, and nobody else can use it.
      this.#shells.drop(number);
      this.#leave(number, unused);
    }
    if (!this.network.isGranted(number)) {
      this.#pool.give(number);
      return this.#refill();
    }
    this.#scrubbing++;
    void this.#scrub(slot);
  }

  async #scrub(slot: Slot): Promise<void> {
    if (!(await this.network.scrub(slot))) return;
    this.#scrubbing--;
    this.#pool.give(slot.number);
    this.#refill();
  }

  /** Begins to make taps and shells ahead of need. */
  start(): void {
    this.#stopped = false;
    this.#refill();
  }

  /** Ends the shells; resolves when they have ended. Slots stay as they are. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    const reserved = this.#reserved.all();
    for (const one of reserved) this.#reserved.drop(one);
    const shells = [...this.#shells.dropAll(), ...reserved.map(({ shell }) => shell)];
    for (const shell of shells) shell.discard();
    await Promise.all([...shells.map(({ ended }) => ended), this.#work]);
  }

  /** Makes what is missing, one after another, while launches leave room. */
  #refill(): void {
    if (this.#stopped || this.#making) return;
    this.#making = true;
    this.#work = this.#makeAhead()
      .catch((error: unknown) => {
        this.parts.log.warn({ err: error }, 'could not get slots ready ahead of need; starts take longer');
        this.#later(RETRY_MS);
      })
      .finally(() => (this.#making = false));
  }

  #later(ms: number): void {
    if (this.#retry || this.#stopped) return;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#refill();
    }, ms);
    this.#retry.unref();
  }

  async #makeAhead(): Promise<void> {
    const taps = this.network.makeAhead();
    // Shells need not wait for more taps, but the first ones would stand in the wrong slots.
    if (this.#pool.lowest({ tap: true, shell: false }) === undefined) await taps;
    await Promise.all([taps, this.#shells.fill()]);
  }

  /** Resolves when a shell waits for a start, one reserved for `key` included, or after `ms`, or at once where none are made. */
  async shellReady(ms: number, key?: string): Promise<void> {
    if (key !== undefined && this.reserved(key).length > 0) return;
    if (this.#shells.size > 0 || this.#stopped || this.parts.warmShells === 0) return;
    this.#refill();
    await this.#shells.oneMore(ms);
  }
}
