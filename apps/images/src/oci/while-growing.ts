import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageError } from '#images';

/** Looked at so often within the time without growth that is allowed. They are counted: while this process stands still, nobody looks. */
const LOOKS = 10;

/**
 * Does work that fills a folder, and ends it by its signal when the folder has not grown for `stillMs`: whoever it comes from has
 * stopped sending.
 *
 * @throws ImageError `registryAway` then; else what the work throws.
 */
export async function whileGrowing<T>(
  folder: string,
  stillMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const still = new AbortController();
  let bytes = -1;
  let looks = 0;
  const timer = setInterval(() => {
    void bytesIn(folder).then((now) => {
      looks = now === bytes ? looks + 1 : 0;
      bytes = now;
      if (looks >= LOOKS) still.abort();
    });
  }, stillMs / LOOKS);
  try {
    return await work(AbortSignal.any([signal, still.signal]));
  } catch (error) {
    if (signal.aborted || !still.signal.aborted) throw error;
    throw new ImageError('registryAway', `the registry has sent nothing for ${stillMs / 1000} s; try again later`);
  } finally {
    clearInterval(timer);
  }
}

async function bytesIn(folder: string): Promise<number> {
  try {
    const names = await readdir(folder, { recursive: true });
    const sizes = names.map((name) =>
      stat(join(folder, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    );
    return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  } catch {
    return 0; // not there yet
  }
}
