import { join } from 'node:path';
import { PARTIES, type Party, type Service } from '#access';
import type { VmmChoice } from '#protocol';
import { STOP_HOST_MS } from '../emulated/stop-deadline';
import { KeyRing } from '../keys/key-ring';
import { type DataFolder, secretIn } from './data-folder';
import { natsProcesses } from './nats-processes';
import type { ProcessSpec } from './process-spec';
import type { Settings } from './settings';

/** A little more than the 15 s in which a service drains. */
const SERVICE_STOP_MS = 16_000;

/** The supervised process that is the emulated host. */
export const EMULATED_HOST = 'emulated-host';

export interface Overcommit {
  cpu: number;
  memory: number;
}

/**
 * `up` is for trying, testing and measuring: microVMs that idle take no CPU, and hundreds of them should fit on two cores.
 * Hosts in production are given what their load allows.
 */
export const DEFAULT_OVERCOMMIT: Overcommit = { cpu: 2048, memory: 1.5 };

export interface VolleyProcessesOptions {
  folder: DataFolder;
  settings: Settings;
  listen: { host: string; port: number };
  /** Ratios that admission on this host enforces. */
  overcommit: Overcommit;
  /** Replicas of the controller. */
  controllers: number;
  /** Adds an emulated host, by the plan that lies in the folder. */
  emulated?: boolean;
  /** What the host agent of this machine starts for a microVM. */
  vmm: VmmChoice;
  /** The checkout, or wherever `dist` and `native/build` lie. */
  root: string;
}

/** The processes of one control plane with its host, in the groups in which they start. Writes the files they are given. */
export function volleyProcesses({
  folder,
  settings,
  listen,
  overcommit,
  controllers,
  emulated = false,
  vmm,
  root,
}: VolleyProcessesOptions): ProcessSpec[][] {
  secretIn(folder.operatorTokenFile);
  const ring = KeyRing.open(folder.keys);
  const hosts: Party[] = [{ hostId: settings.hostId }, ...(emulated ? [{ hostId: settings.emulatedHostId }] : [])];
  ring.prune(Date.now());
  for (const party of [...PARTIES, ...hosts]) ring.add(party, Date.now());
  ring.save();

  const inherited = Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  const nats = natsProcesses(folder, settings, ring, inherited);
  const common = {
    ...inherited,
    NODE_ENV: 'production',
    VOLLEY_NATS_URL: nats.ports.map((port) => `nats://127.0.0.1:${port}`).join(','),
    // Each stream and bucket on every server.
    VOLLEY_NATS_REPLICAS: String(nats.ports.length),
    ...(nats.caFile === undefined ? {} : { VOLLEY_NATS_CA_FILE: nats.caFile }),
  };
  const service = (app: Service | 'hostd', env: Record<string, string>, name = `volley-${app}`): ProcessSpec => ({
    name,
    command: process.execPath,
    args: ['--enable-source-maps', join(root, 'dist', 'apps', app, 'src', 'main.js')],
    env: { ...common, VOLLEY_NATS_NKEY_FILE: ring.seedFile(app === 'hostd' ? hosts[0]! : app), ...env },
    stopDeadlineMs: SERVICE_STOP_MS,
  });
  // Last, so that it stops first: those who want to hear from it are still there.
  const emulatedHost: ProcessSpec = {
    name: EMULATED_HOST,
    command: process.execPath,
    args: [
      ...['--enable-source-maps', join(root, 'dist', 'apps', 'cli', 'src', 'emulated', 'main.js')],
      ...['--data', folder.path, '--host-id', settings.emulatedHostId, '--nats-ports', nats.ports.join(',')],
      ...(nats.caFile === undefined ? [] : ['--nats-ca', nats.caFile]),
      ...['--shell', emulatedShell(settings)],
      ...['--overcommit-cpu', String(overcommit.cpu), '--overcommit-memory', String(overcommit.memory)],
    ],
    env: inherited,
    stopDeadlineMs: STOP_HOST_MS + 2_000,
  };
  return [
    nats.processes,
    [
      ...Array.from({ length: controllers }, (_, i) => {
        const number = i === 0 ? '' : `-${i + 1}`;
        return service('controller', { VOLLEY_CONTROLLER_ID: `controller${number}` }, `volley-controller${number}`);
      }),
      service('placement', {}),
      service('images', {
        VOLLEY_IMAGES_DIR: folder.images,
        VOLLEY_GUEST_INIT_PATH: join(root, 'native', 'build', 'guest', 'init'),
        // Beside the data folders: kernels are the same for all of them.
        VOLLEY_KERNEL_CACHE_DIR: join(root, '.volley', 'cache', 'kernels'),
      }),
      service('hostd', {
        VOLLEY_HOST_ID: settings.hostId,
        VOLLEY_HOST_DIR: folder.host,
        VOLLEY_RUN_DIR: settings.runDir,
        VOLLEY_VMM: vmm,
        VOLLEY_OVERCOMMIT_CPU: String(overcommit.cpu),
        VOLLEY_OVERCOMMIT_MEMORY: String(overcommit.memory),
      }),
      service('gateway', {
        VOLLEY_LISTEN: `${listen.host.includes(':') ? `[${listen.host}]` : listen.host}:${listen.port}`,
        VOLLEY_TOKEN_FILE: folder.operatorTokenFile,
        VOLLEY_CONSOLE_DIR: join(root, 'dist', 'console'),
      }),
    ],
    ...(emulated ? [[emulatedHost]] : []),
  ];
}

/** A shell of the emulated host, for who may enter the run folder. Sockets must have short paths. */
export function emulatedShell(settings: Settings): string {
  return join(settings.runDir, 'emulated-shell');
}
