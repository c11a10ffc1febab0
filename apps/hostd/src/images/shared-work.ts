import { ImageError } from '#images';

interface UnderWay<T> {
  done: Promise<T>;
  waiting: number;
  controller: AbortController;
}

/** Work that several wait for at the same time: done once for all of them, and given up with the last. */
export class SharedWork<T> {
  readonly #underWay = new Map<string, UnderWay<T>>();

  /** Joins the work of this key, or begins it. @throws ImageError `cancelled` when `signal` is aborted; what `work` throws. */
  async join(key: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const underWay = this.#underWay.get(key) ?? this.#begin(key, work);
    underWay.waiting++;
    try {
      return await unlessAborted(underWay.done, signal);
    } finally {
      if (--underWay.waiting === 0) underWay.controller.abort();
    }
  }

  #begin(key: string, work: (signal: AbortSignal) => Promise<T>): UnderWay<T> {
    const controller = new AbortController();
    const underWay: UnderWay<T> = { done: work(controller.signal), waiting: 0, controller };
    this.#underWay.set(key, underWay);
    // Once it is over or given up, whoever asks begins anew.
    const forget = (): void => {
      if (this.#underWay.get(key) === underWay) this.#underWay.delete(key);
    };
    underWay.done.then(forget, forget);
    controller.signal.addEventListener('abort', forget);
    return underWay;
  }
}

/** @throws ImageError `cancelled` as soon as the signal is aborted. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const gaveUp = (): ImageError => new ImageError('cancelled', 'fetching was given up');
  if (signal.aborted) return Promise.reject(gaveUp());
  return new Promise((resolve, reject) => {
    const giveUp = (): void => reject(gaveUp());
    signal.addEventListener('abort', giveUp, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp));
  });
}

/** @throws ImageError `cancelled` */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  return unlessAborted(passed, signal).finally(() => clearTimeout(timer));
}
