import { createHash, randomBytes } from 'node:crypto';
import { accessSync, constants, mkdirSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { CliError } from '../errors';
import { type DataFolder, writeWhole } from './data-folder';
import { freePort } from './free-port';
import { rememberOwner, sweepRunDirs } from './run-dirs';

/** What a data folder keeps the same from one `up` to the next. */
export interface Settings {
  natsPort: number;
  hostId: string;
  /** Of the emulated host that `up --emulated` adds. */
  emulatedHostId: string;
  /** Folder of hostd's pages and sockets, one per running VMM; in memory, so a reboot empties it as it ends the VMMs. */
  runDir: string;
}

export async function settingsOf(folder: DataFolder): Promise<Settings> {
  const stored = readSettings(folder);
  const runDir =
    stored?.runDir ?? join(memoryFolder(), createHash('sha256').update(folder.path).digest('hex').slice(0, 16));
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  if (statSync(runDir).uid !== process.getuid?.()) {
    throw new CliError(`${runDir} belongs to another user; remove it, or use another data folder with --data`);
  }
  rememberOwner(runDir, folder.path);
  sweepRunDirs(dirname(runDir));
  const natsPort = (stored && (await freePort('127.0.0.1', stored.natsPort))) ?? (await freePort('127.0.0.1'));
  if (natsPort === undefined) throw new CliError('no free port on 127.0.0.1 for nats-server');
  const hostId = stored?.hostId ?? newHostId();
  const settings: Settings = {
    natsPort,
    hostId,
    emulatedHostId: stored?.emulatedHostId ?? `emulated-${hostId}`,
    runDir,
  };
  writeWhole(folder.settingsFile, `${JSON.stringify(settings, null, 2)}\n`);
  return settings;
}

export function readSettings(folder: DataFolder): Settings | undefined {
  try {
    return JSON.parse(readFileSync(folder.settingsFile, 'utf8')) as Settings;
  } catch {
    return undefined;
  }
}

/** The machine's name for people, and a tail that keeps two data folders on one machine apart. */
function newHostId(): string {
  const name = hostname()
    .split('.')[0]!
    .replace(/[^a-zA-Z0-9_-]/g, '-')
    .slice(0, 40);
  return `${name || 'host'}-${randomBytes(2).toString('hex')}`;
}

const TMPFS_MAGIC = 0x01021994;

/** A folder in memory that this user may write: /run as it should be, /dev/shm where /run is on a disk. */
function memoryFolder(): string {
  const candidates = ['/run', process.env['XDG_RUNTIME_DIR'], '/dev/shm'].filter(
    (path) => path !== undefined && path !== '',
  );
  for (const path of candidates as string[]) {
    try {
      accessSync(path, constants.W_OK | constants.X_OK);
      if (statfsSync(path).type === TMPFS_MAGIC) return join(path, `volley-${process.getuid?.() ?? 0}`);
    } catch {
      // not there, or not for us
    }
  }
  throw new CliError(`none of ${candidates.join(', ')} is a tmpfs that this user may write to; mount one`);
}
