import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** On tmpfs: hundreds of journals are opened, and syncing them to a disk is not what is tested. */
const SCRATCH = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** A new folder, which who asks for it removes. */
export function scratchFolder(prefix: string): string {
  return mkdtempSync(join(SCRATCH, prefix));
}
