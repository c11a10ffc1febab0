import { createHash, randomBytes } from 'node:crypto';
import { accessSync, constants, mkdirSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { freePort, isPortFree } from '#ports';
import { CliError } from '../errors';
import { type DataFolder, writeWhole } from './data-folder';
import { rememberOwner, sweepRunDirs } from './run-dirs';

/** What a data folder keeps the same from one `up` to the next. */
export interface Settings {
  /** Of the nats-server, or the first of a cluster. */
  natsPort: number;
  /** Of the servers of a cluster: where clients connect, and where the servers find each other. Absent: one server. */
  cluster?: { ports: number[]; routePorts: number[] };
  hostId: string;
  /** Of the emulated host that `up --emulated` adds. */
  emulatedHostId: string;
  /** Folder of hostd's pages and sockets, one per running VMM; in memory, so a reboot empties it as it ends the VMMs. */
  runDir: string;
}

const CLUSTER_SERVERS = 3;

/**
 * Reads what the folder keeps, or makes it up for a new folder. Ports that others have taken meanwhile are replaced.
 *
 * @throws CliError when a folder with one server is asked to have a cluster, or something of this machine is missing.
 */
export async function settingsOf(folder: DataFolder, { cluster = false } = {}): Promise<Settings> {
  const stored = readSettings(folder);
  requireClusterable(folder, stored, cluster);
  const runDir =
    stored?.runDir ?? join(memoryFolder(), createHash('sha256').update(folder.path).digest('hex').slice(0, 16));
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  if (statSync(runDir).uid !== process.getuid?.()) {
    throw new CliError(`${runDir} belongs to another user; remove it, or use another data folder with --data`);
  }
  rememberOwner(runDir, folder.path);
  sweepRunDirs(dirname(runDir));
  const inCluster = stored ? stored.cluster !== undefined : cluster;
  const servers = inCluster ? CLUSTER_SERVERS : 1;
  const ports = await portsFor(servers, stored?.cluster?.ports ?? (stored ? [stored.natsPort] : []));
  const routePorts = inCluster ? await portsFor(servers, stored?.cluster?.routePorts ?? [], ports) : [];
  const hostId = stored?.hostId ?? newHostId();
  const settings: Settings = {
    natsPort: ports[0]!,
    ...(inCluster ? { cluster: { ports, routePorts } } : {}),
    hostId,
    emulatedHostId: stored?.emulatedHostId ?? `emulated-${hostId}`,
    runDir,
  };
  writeWhole(folder.settingsFile, `${JSON.stringify(settings, null, 2)}\n`);
  return settings;
}

/** @throws CliError when histories lie on one server and a cluster is asked for. */
export function requireClusterable(folder: DataFolder, stored: Settings | undefined, cluster: boolean): void {
  if (!cluster || !stored || stored.cluster) return;
  throw new CliError(
    `${folder.path} keeps its histories on one nats-server, and is not made a cluster; for a fleet on a cluster take another folder: ` +
      './volley up --cluster --data DIR',
  );
}

/** The wanted ports where nobody has taken them, others where somebody has. */
async function portsFor(count: number, wanted: readonly number[], taken: readonly number[] = []): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const before = wanted[ports.length];
    const port = before && (await isPortFree('127.0.0.1', before)) ? before : await freePort('127.0.0.1');
    if (!ports.includes(port) && !taken.includes(port)) ports.push(port);
  }
  return ports;
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
