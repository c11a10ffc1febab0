import { statfs } from 'node:fs/promises';
import { onAbort } from '#concurrency';
import { ImageError } from '#images';

const LOOK_EVERY_MS = 250;

/**
 * Does work that fills a disk, and ends it by its signal before others on the machine find the disk full: an image of a few MiB can
 * unpack to all there is.
 *
 * @throws ImageError `noSpace` when less than `reserveBytes` is free; else what the work throws.
 */
export async function withRoom<T>(
  folder: string,
  reserveBytes: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const full = async (): Promise<boolean> => {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize < reserveBytes;
  };
  const noRoom = (): ImageError =>
    new ImageError(
      'noSpace',
      `no room: ${Math.ceil(reserveBytes / 2 ** 20)} MiB must stay free on the disk of imports (VOLLEY_IMAGES_RESERVE_MIB)`,
    );
  if (await full()) throw noRoom();
  let isFull = false;
  const timer = setInterval(() => {
    full().then(
      (now) => {
        isFull ||= now;
        if (now) controller.abort();
      },
      () => undefined, // the folder is gone: so is the work
    );
  }, LOOK_EVERY_MS);
  const off = onAbort(signal, () => controller.abort());
  try {
    return await work(controller.signal);
  } catch (error) {
    throw isFull ? noRoom() : error;
  } finally {
    clearInterval(timer);
    off();
  }
}
