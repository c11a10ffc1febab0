/** How long after the end of a lease the agent itself has time to end what may move: it also writes down why. Well below the margin that controllers wait, 5 s. */
const GRACE_MS = 500;
/** How often the lease is looked at once it is over. */
const OVER_MS = 1_000;
/** A VMM may have been on its way when its agent was stopped: it is looked for again. */
const ROUNDS = 3;

export interface FenceParts {
  /** End of the lease, ms on the monotonic clock; -Infinity: there is none. */
  leaseEnd: () => number;
  /** Monotonic clock, ms. */
  nowMs: () => number;
  /** Ends every VMM that may run elsewhere by now. */
  endMovable: () => void;
  /** Whether the agent that started this fence is still there. */
  agentLives: () => boolean;
}

/**
 * Ends what may be started elsewhere when the lease of this host is over and the agent does not do it: because it is stopped, hangs, or
 * has ended and was not started again.
 */
export class Fence {
  #endOfLease: number;
  #rounds = 0;

  constructor(private readonly parts: FenceParts) {
    this.#endOfLease = parts.leaseEnd();
  }

  /** @returns ms until the next step; undefined: its work is done */
  step(): number | undefined {
    const { leaseEnd, nowMs, endMovable, agentLives } = this.parts;
    const end = leaseEnd();
    if (end !== this.#endOfLease) {
      this.#endOfLease = end;
      this.#rounds = 0;
    }
    const leftMs = end + GRACE_MS - nowMs();
    if (leftMs > 0) return leftMs;
    if (this.#rounds < ROUNDS) {
      this.#rounds++;
      endMovable();
    }
    // The next agent on this host directory brings a fence of its own.
    return this.#rounds >= ROUNDS && !agentLives() ? undefined : OVER_MS;
  }
}
