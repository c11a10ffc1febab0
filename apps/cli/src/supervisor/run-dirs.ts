import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { vmmProcesses } from './vmm-processes';

/** File in a run folder that names the data folder it belongs to. */
const OWNER = 'data-folder';

export function rememberOwner(runDir: string, dataFolder: string): void {
  writeFileSync(join(runDir, OWNER), `${dataFolder}\n`, { mode: 0o600 });
}

/** Removes run folders whose data folder is gone, as after tests and tries: they take memory. Not while VMMs run in them. */
export function sweepRunDirs(parent: string): void {
  for (const name of readdirSync(parent)) {
    const runDir = join(parent, name);
    try {
      const owner = readFileSync(join(runDir, OWNER), 'utf8').trim();
      if (!existsSync(owner) && vmmProcesses(runDir).length === 0) rmSync(runDir, { recursive: true, force: true });
    } catch {
      // not one of ours
    }
  }
}
