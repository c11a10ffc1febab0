const FIRST_MS = 100;
const LONGEST_MS = 5_000;
/** A process that lived this long was healthy: its next death starts from the shortest wait again. */
const HEALTHY_MS = 10_000;

/** How long to wait before a process is started again: at once after a long life, twice as long after each short one, 5 s at most. */
export class BackOff {
  #shortLives = 0;

  /** Ends in a row of a process that had not lived for 10 s. */
  get shortLives(): number {
    return this.#shortLives;
  }

  /** @returns ms to wait */
  afterLifeOf(livedMs: number): number {
    this.#shortLives = livedMs >= HEALTHY_MS ? 1 : this.#shortLives + 1;
    return Math.min(LONGEST_MS, FIRST_MS * 2 ** (this.#shortLives - 1));
  }
}
