/** A slope with its standard error, in the units of y per one of x. */
export interface Slope {
  value: number;
  error: number;
  /** Steps that it was estimated from. */
  steps: number;
}

/** A step is taken when x has changed by this much, or has come to rest after a change. */
const STEP = 8;
/** Between two readings of which one is to be the end of a step, ms: memory follows a start or an end by as much. */
const SETTLE_MS = 3_000;
/** After this time a step ends as it is, ms: what else happens on the host grows with time. */
const LONGEST_MS = 60_000;
/** What an older step counts for when a new one comes. */
const MEMORY = 0.97;

/**
 * Estimates by how much y changes with x while a host lives: from steps, so that slow changes of y which have nothing to do with
 * x do not matter, by least squares through the origin, each step weighted by the inverse of its length in time. Steps age, so
 * that the estimate follows a host whose load has changed.
 */
export class SlopeEstimator {
  #from: { x: number; y: number; atMs: number } | undefined;
  #last: { x: number; atMs: number } | undefined;
  #xx = 0;
  #xy = 0;
  #yy = 0;
  #steps = 0;
  /** Steps, as far as they have not aged. */
  #weight = 0;

  /** Takes a reading of both at a moment, ms of a monotonic clock. */
  add(x: number, y: number, atMs: number): void {
    const rested = this.#last?.x === x && atMs - this.#last.atMs >= SETTLE_MS;
    if (this.#last?.x !== x) this.#last = { x, atMs };
    const from = (this.#from ??= { x, y, atMs });
    if (x === from.x) {
      if (rested) this.#from = { x, y, atMs };
      return;
    }
    const elapsedMs = atMs - from.atMs;
    const ends = rested || (Math.abs(x - from.x) >= STEP && elapsedMs >= SETTLE_MS) || elapsedMs >= LONGEST_MS;
    if (!ends) return;
    this.#learn(x - from.x, y - from.y, Math.max(1, elapsedMs / 1_000));
    this.#from = { x, y, atMs };
  }

  /** Undefined below three steps, from which no error can be told. */
  read(): Slope | undefined {
    if (this.#steps < 3 || this.#xx === 0) return undefined;
    const value = this.#xy / this.#xx;
    const residual = Math.max(0, this.#yy - value * this.#xy);
    const error = Math.sqrt(residual / Math.max(1, this.#weight - 1) / this.#xx);
    return { value, error, steps: this.#steps };
  }

  #learn(dx: number, dy: number, seconds: number): void {
    this.#xx = this.#xx * MEMORY + (dx * dx) / seconds;
    this.#xy = this.#xy * MEMORY + (dx * dy) / seconds;
    this.#yy = this.#yy * MEMORY + (dy * dy) / seconds;
    this.#weight = this.#weight * MEMORY + 1;
    this.#steps++;
  }
}
