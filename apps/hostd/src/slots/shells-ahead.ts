import type { Logger } from 'pino';
import type { Shell } from '#microvm';
import { ShellDemand, type StartKind } from './shell-demand';
import type { SlotPool } from './slot-pool';

/** After a shell ended that nobody had used, ms. */
const RETRY_MS = 1_000;
/** After one was taken: several starts in a row are served first, ms. */
const REFILL_MS = 20;

export interface ShellsAheadParts {
  pool: SlotPool;
  /** Makes one in a slot. @throws VmmLaunchError */
  make: (slot: number) => Promise<Shell>;
  hasTap: (slot: number) => boolean;
  /** How many are kept, and how many are made at the same time. */
  most: number;
  atOnce: number;
  isStopped: () => boolean;
  /** {@link ShellsAhead.fill} is to be called, after so many ms. */
  wanted: (ms: number) => void;
  log: Logger;
}

/** The shells that wait in free slots for whatever starts next, in slots with and without a tap as the latest starts took them. */
export class ShellsAhead {
  readonly #shells = new Map<number, Shell>();
  readonly #demand: ShellDemand;
  /** Are told when there is one more. */
  readonly #waiting = new Set<() => void>();

  constructor(private readonly parts: ShellsAheadParts) {
    this.#demand = new ShellDemand(parts.most);
  }

  get size(): number {
    return this.#shells.size;
  }

  get(slot: number): Shell | undefined {
    return this.#shells.get(slot);
  }

  has(slot: number): boolean {
    return this.#shells.has(slot);
  }

  /** One that was kept elsewhere, for the start that has just taken its slot. */
  put(slot: number, shell: Shell): void {
    this.#shells.set(slot, shell);
  }

  /** It is the caller's from now on. */
  drop(slot: number): void {
    this.#shells.delete(slot);
    this.parts.pool.note(slot, { shell: false });
    this.parts.wanted(REFILL_MS);
  }

  dropAll(): Shell[] {
    const shells = [...this.#shells.values()];
    this.#shells.clear();
    return shells;
  }

  /** A start has taken a slot. */
  noteStart(kind: StartKind): void {
    this.#demand.note(kind);
  }

  /** Makes those that are missing. @throws VmmLaunchError */
  async fill(): Promise<void> {
    const { pool, most, atOnce, isStopped } = this.parts;
    this.#move();
    let making = 0;
    const maker = async (): Promise<void> => {
      while (!isStopped() && this.#shells.size + making < most) {
        const slot = this.#next();
        if (slot === undefined || !pool.claim(slot)) return;
        making++;
        try {
          await this.#make(slot);
        } finally {
          making--;
        }
      }
    };
    await Promise.all(Array.from({ length: atOnce }, maker));
  }

  /** Resolves when there is one more, or after `ms`. */
  async oneMore(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.#waiting.add(end);
    });
  }

  /** Where the starts that come find it. */
  #next(): number | undefined {
    const { pool } = this.parts;
    const plain = pool.lowest({ tap: false, shell: false });
    const withTap = pool.lowest({ tap: true, shell: false });
    return this.#withTap() < this.#demand.network ? (withTap ?? plain) : (plain ?? withTap);
  }

  #withTap(): number {
    let count = 0;
    for (const slot of this.#shells.keys()) if (this.parts.hasTap(slot)) count++;
    return count;
  }

  /**
   * Ends shells in slots without a tap when those in slots with one do not meet the demand: they are made again where they
   * serve. Not the other way round, since a slot with a tap serves every start.
   */
  #move(): void {
    const { pool, hasTap, most } = this.parts;
    let missing = Math.min(
      this.#demand.network - this.#withTap() - (most - this.#shells.size),
      pool.lowest({ tap: true, shell: false }) === undefined ? 0 : Infinity,
    );
    for (const [slot, shell] of this.#shells) {
      if (missing <= 0) return;
      if (hasTap(slot) || !pool.claim(slot)) continue;
      missing--;
      this.drop(slot);
      endShell(pool, slot, shell);
    }
  }

  async #make(slot: number): Promise<void> {
    const { pool, make, isStopped, wanted, log } = this.parts;
    let ready = false;
    try {
      const shell = await make(slot);
      if (isStopped()) {
        shell.discard();
        return await shell.ended;
      }
      this.#shells.set(slot, shell);
      pool.note(slot, { shell: true });
      ready = true;
      void shell.ended.then(() => {
        if (this.#shells.get(slot) !== shell) return;
        log.warn({ slot, pid: shell.pid }, 'a shell ended before it was used');
        this.drop(slot);
        wanted(RETRY_MS);
      });
    } finally {
      pool.give(slot);
    }
    if (ready) for (const tell of this.#waiting) tell();
  }
}

/** Its slot is free when its process is gone: the next one in there has the same uid and cgroup. */
export function endShell(pool: SlotPool, slot: number, shell: Shell): void {
  shell.discard();
  void shell.ended.then(() => pool.give(slot));
}
