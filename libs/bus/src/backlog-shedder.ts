import type { InboundWatermark } from '#journal';
import { OperationError } from '#protocol';

/** A service is behind when a message may have waited so long to be read, ms: whoever asked will soon give it up. */
const BEHIND_MS = 1_000;
/** Taken all the same until the next sign of progress: a process that was frozen for a moment is late, but need not have much to do. */
const TAKEN_ALL_THE_SAME = 128;

const BEHIND = 'this service has fallen behind; nothing was done, try again later';

/**
 * Turns new work away unread while a service has more to read than it gets through: looking at each request would keep it from catching up, and most of
 * those who asked have asked again since.
 */
export class BacklogShedder {
  readonly #lines: ReadonlySet<InboundWatermark>;
  #progress = 0;
  #taken = 0;

  /** `lines`: of the connection that new work comes over, and of the one whose messages it would compete with. */
  constructor(lines: Iterable<InboundWatermark>) {
    this.#lines = new Set(lines);
  }

  /** Asked for each request that is to be read; undefined: read it. */
  refusal(): OperationError | undefined {
    let lagMs = 0;
    let progress = 0;
    for (const line of this.#lines) {
      lagMs = Math.max(lagMs, line.lagMs);
      progress += line.readUntilMs;
    }
    if (lagMs <= BEHIND_MS) return undefined;
    if (progress !== this.#progress) [this.#progress, this.#taken] = [progress, 0];
    if (this.#taken++ < TAKEN_ALL_THE_SAME) return undefined;
    return new OperationError('overloaded', BEHIND, undefined, Math.ceil(lagMs));
  }
}
