import { closeSync, copyFileSync, openSync, renameSync, rmSync, statSync, truncateSync } from 'node:fs';

export const LOG_LIMIT_BYTES = 8 * 1024 * 1024;
const KEPT = 3;

/** Opened for appending: the process that gets the descriptor goes on writing whatever becomes of its supervisor. */
export function openLog(file: string): number {
  return openSync(file, 'a', 0o600);
}

export function closeLog(descriptor: number): void {
  closeSync(descriptor);
}

/**
 * Moves a log that has grown past `limitBytes` to `FILE.1`, the older ones to `.2` and `.3`, and starts it anew. The text is copied
 * and the file emptied, because the writer holds it open; lines written between the two are lost.
 */
export function rotateLog(file: string, limitBytes = LOG_LIMIT_BYTES): boolean {
  let size: number;
  try {
    size = statSync(file).size;
  } catch {
    return false;
  }
  if (size <= limitBytes) return false;
  rmSync(`${file}.${KEPT}`, { force: true });
  for (let i = KEPT - 1; i >= 1; i--) {
    try {
      renameSync(`${file}.${i}`, `${file}.${i + 1}`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  copyFileSync(file, `${file}.1`);
  truncateSync(file, 0);
  return true;
}
