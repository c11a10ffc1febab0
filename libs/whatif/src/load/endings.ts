import type { Claim, Ending } from './claim';

/** How a claim that never had a place would have ended, drawn from like ones that had one. */
export class Endings {
  /** By tenant and size, by tenant, and all: the endings of those that ended. */
  readonly #like = new Map<string, Claim[]>();
  /** How long after the end of their time to live those are gone that it ends, ms: the middle one. */
  readonly #lateness: number;

  constructor(claims: readonly Claim[]) {
    const late: number[] = [];
    for (const claim of claims) {
      const { ending, expiresAt } = claim;
      if (ending.kind !== 'after' && ending.kind !== 'at') continue;
      if (ending.kind === 'at' && expiresAt !== null) late.push(Math.max(0, ending.at - expiresAt));
      for (const key of keysOf(claim)) {
        const like = this.#like.get(key);
        if (like) like.push(claim);
        else this.#like.set(key, [claim]);
      }
    }
    late.sort((a, b) => a - b);
    this.#lateness = late[late.length >> 1] ?? 0;
  }

  /**
   * When a claim that gets its place at `at` gives it up, ms since 1970; Infinity: not in this record. `random`: a number in [0, 1),
   * asked for where something has to be drawn.
   */
  endOf(claim: Claim, at: number, random: () => number): number {
    const ending = claim.ending.kind === 'unknown' ? this.#drawn(claim, random) : claim.ending;
    const atLatest = claim.expiresAt === null ? Infinity : claim.expiresAt + this.#lateness;
    if (ending.kind === 'at') return Math.max(at, ending.at);
    return Math.max(at, Math.min(atLatest, ending.kind === 'after' ? at + ending.ms : Infinity));
  }

  /** `open` where nobody like it ever ended. */
  #drawn(claim: Claim, random: () => number): Ending {
    const key = keysOf(claim).find((one) => this.#like.has(one));
    const like = key === undefined ? undefined : this.#like.get(key);
    if (!like) return { kind: 'open' };
    const { ending, expiresAt } = like[Math.floor(random() * like.length)]!;
    if (ending.kind !== 'at') return ending;
    // Whoever was ended by its time to live says nothing of one that has none, but that it would have stayed.
    return expiresAt === null ? ending : { kind: 'open' };
  }
}

/** From the most to the least alike. */
function keysOf({ demand, expiresAt }: Claim): string[] {
  const { tenant, vcpus, memoryMiB } = demand;
  const bounded = expiresAt === null ? 'unbounded' : 'bounded';
  return [`${tenant} ${vcpus} ${memoryMiB} ${bounded}`, `${tenant} ${bounded}`, bounded];
}
