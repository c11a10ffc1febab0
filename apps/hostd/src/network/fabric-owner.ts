import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning } from '../microvms/unadopted-process';

/** Whose network namespace and rules these are: kept beside them, so that what a dead agent left can be told from what lives. */
export interface FabricOwner {
  /** Names namespace, link and table. */
  name: string;
  hostDir: string;
  pid: number;
  startTicks: string;
  /** The network namespace that counts as its host's. */
  hostNetwork?: string;
  /** The host did not forward packets before an agent wanted it to. */
  forwardingWasOff?: boolean;
}

export class FabricOwners {
  constructor(private readonly directory: string) {}

  write(owner: FabricOwner): void {
    mkdirSync(this.directory, { recursive: true, mode: 0o755 });
    const path = this.#pathOf(owner.name);
    writeFileSync(`${path}.new`, JSON.stringify(owner), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  remove(name: string): void {
    rmSync(this.#pathOf(name), { force: true });
  }

  read(name: string): FabricOwner | undefined {
    try {
      return JSON.parse(readFileSync(this.#pathOf(name), 'utf8')) as FabricOwner;
    } catch {
      return undefined;
    }
  }

  list(): FabricOwner[] {
    let files: string[] = [];
    try {
      files = readdirSync(this.directory);
    } catch {
      return [];
    }
    return files
      .filter((file) => file.endsWith('.json'))
      .map((file) => this.read(file.slice(0, -'.json'.length)))
      .filter((owner) => owner !== undefined);
  }

  #pathOf(name: string): string {
    return join(this.directory, `${name}.json`);
  }
}

/** Nobody will come back for it: its agent has ended, and the folder with its journal is gone. */
export function isAbandoned(owner: FabricOwner): boolean {
  return !isRunning(owner) && !existsSync(owner.hostDir);
}
