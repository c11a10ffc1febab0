import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** A small disk of its own, a tmpfs, that a test may fill. */
export interface TightDisk {
  readonly path: string;
  /** Takes all of its space but this. */
  fill(leaveBytes?: number): void;
  /** Gives the space back that `fill` took. */
  free(): void;
  unmount(): void;
}

/** Mounts it at a folder, which is made when it is not there. Throws where this user may not mount. */
export function mountTightDisk(path: string, bytes: number): TightDisk {
  mkdirSync(path, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path], { stdio: 'pipe', timeout: 10_000 });
  const filler = join(path, 'filler');
  const room = (): number => {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  };
  const free = (): void => rmSync(filler, { force: true });
  const unmount = (): void => {
    if (existsSync(path)) execFileSync('umount', ['--lazy', path], { stdio: 'pipe', timeout: 10_000 });
  };
  return {
    path,
    fill(leaveBytes = 0) {
      const fd = openSync(filler, 'a');
      try {
        for (let left = room() - leaveBytes; left > 0; left = room() - leaveBytes) {
          writeSync(fd, Buffer.alloc(Math.min(left, 1 << 20)));
        }
      } finally {
        closeSync(fd);
      }
    },
    free,
    unmount,
  };
}

/** Why {@link mountTightDisk} cannot work here, if so. */
export function tightDiskMissing(): string | undefined {
  return process.getuid?.() === 0 ? undefined : 'only root may mount';
}
