import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, realpathSync, renameSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CliError } from '../errors';

/** Where everything that one `volley up` keeps lies. Made on the first `up`; the same folder means the same fleet. */
export class DataFolder {
  /** Absolute, without symbolic links, so that two spellings of one folder are the same folder. */
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Makes the folder when it is missing; only its owner may enter. */
  static create(path: string): DataFolder {
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      const folder = new DataFolder(realpathSync(path));
      for (const part of [folder.logs, folder.nats, folder.host]) mkdirSync(part, { recursive: true, mode: 0o700 });
      return folder;
    } catch (error) {
      throw new CliError(`cannot use the data folder ${path}: ${(error as Error).message}`);
    }
  }

  /** For readers: the folder need not exist. */
  static at(path: string): DataFolder {
    try {
      return new DataFolder(realpathSync(path));
    } catch {
      return new DataFolder(resolve(path));
    }
  }

  get logs(): string {
    return join(this.path, 'logs');
  }
  get nats(): string {
    return join(this.path, 'nats');
  }
  /** hostd's own journal. */
  get host(): string {
    return join(this.path, 'host');
  }
  /** What an emulated host keeps: its disk and the plan it is made by. */
  get emulated(): string {
    return join(this.path, 'emulated');
  }
  get emulatedPlanFile(): string {
    return join(this.emulated, 'plan.json');
  }
  /** What imports of images work on. */
  get images(): string {
    return join(this.path, 'images');
  }
  /** Of one server, or of the server of this number in a cluster. */
  natsConfigFile(number?: number): string {
    return join(this.path, number === undefined ? 'nats.conf' : `nats-${number}.conf`);
  }
  /** The nkeys of the services and hosts. */
  get keys(): string {
    return join(this.path, 'keys');
  }
  /** The authority and the certificates of a cluster. */
  get tls(): string {
    return join(this.keys, 'tls');
  }
  get operatorTokenFile(): string {
    return join(this.path, 'operator.token');
  }
  get lockFile(): string {
    return join(this.path, 'supervisor.lock');
  }
  get stateFile(): string {
    return join(this.path, 'supervisor.json');
  }
  get settingsFile(): string {
    return join(this.path, 'settings.json');
  }
  logFile(name: string): string {
    return join(this.logs, `${name}.log`);
  }
}

/** Replaces a file in one step, so that readers see the old text or the new one. */
export function writeWhole(file: string, text: string, mode = 0o600): void {
  const draft = `${file}.${process.pid}.new`;
  writeFileSync(draft, text, { mode });
  chmodSync(draft, mode);
  renameSync(draft, file);
}

/** The secret in `file`, made on first use: 32 random bytes, readable by the owner alone. */
export function secretIn(file: string): string {
  try {
    const secret = readFileSync(file, 'utf8').trim();
    if (secret !== '') {
      chmodSync(file, 0o600);
      return secret;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const secret = randomBytes(32).toString('base64url');
  writeWhole(file, `${secret}\n`);
  return secret;
}
