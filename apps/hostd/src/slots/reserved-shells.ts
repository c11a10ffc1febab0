import type { Shell } from '#microvm';

/** A shell that is ready for starts of one kind, and the slot that it keeps for them. */
export interface ReservedShell {
  slot: number;
  /** Of the starts that it is for. */
  key: string;
  /** What it was primed with, by identity: a start that goes on from something else cannot use it. */
  source: object;
  shell: Shell;
}

/** Shells that are not for whoever comes first, in the order in which they were reserved. */
export class ReservedShells {
  readonly #bySlot = new Map<number, ReservedShell>();

  get size(): number {
    return this.#bySlot.size;
  }

  add(reserved: ReservedShell): void {
    this.#bySlot.set(reserved.slot, reserved);
  }

  *of(key: string): Generator<ReservedShell> {
    for (const reserved of this.#bySlot.values()) if (reserved.key === key) yield reserved;
  }

  all(): ReservedShell[] {
    return [...this.#bySlot.values()];
  }

  /** Takes the one for these starts that has waited longest, in a slot that `serves` them. */
  take(key: string, serves: (slot: number) => boolean): ReservedShell | undefined {
    for (const reserved of this.of(key)) if (serves(reserved.slot) && this.drop(reserved)) return reserved;
    return undefined;
  }

  /** The one that has waited longest, for whatever starts. */
  takeAny(serves: (slot: number) => boolean): ReservedShell | undefined {
    for (const reserved of this.#bySlot.values()) if (serves(reserved.slot) && this.drop(reserved)) return reserved;
    return undefined;
  }

  /** False when it is not reserved any more. */
  drop(reserved: ReservedShell): boolean {
    return this.#bySlot.get(reserved.slot) === reserved && this.#bySlot.delete(reserved.slot);
  }
}
