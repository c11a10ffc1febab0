import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { STOP_HOST_MS } from '../emulated/stop-deadline';
import { type DataFolder, secretIn, writeWhole } from './data-folder';
import { natsConfig } from './nats-config';
import type { ProcessSpec } from './process-spec';
import type { Settings } from './settings';
import { tcpReady } from './tcp-ready';

/** A little more than the 15 s in which a service drains. */
const SERVICE_STOP_MS = 16_000;
const NATS_STOP_MS = 10_000;

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
  root,
}: VolleyProcessesOptions): ProcessSpec[][] {
  const token = secretIn(folder.natsTokenFile);
  secretIn(folder.operatorTokenFile);
  writeWhole(folder.natsConfigFile, natsConfig({ port: settings.natsPort, token, storeDir: folder.nats }));

  const inherited = Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  const common = {
    ...inherited,
    NODE_ENV: 'production',
    VOLLEY_NATS_URL: `nats://127.0.0.1:${settings.natsPort}`,
    VOLLEY_NATS_TOKEN_FILE: folder.natsTokenFile,
  };
  const service = (app: string, env: Record<string, string>, name = `volley-${app}`): ProcessSpec => ({
    name,
    command: process.execPath,
    args: ['--enable-source-maps', join(root, 'dist', 'apps', app, 'src', 'main.js')],
    env: { ...common, ...env },
    stopDeadlineMs: SERVICE_STOP_MS,
  });
  // Last, so that it stops first: those who want to hear from it are still there.
  const emulatedHost: ProcessSpec = {
    name: EMULATED_HOST,
    command: process.execPath,
    args: [
      ...['--enable-source-maps', join(root, 'dist', 'apps', 'cli', 'src', 'emulated', 'main.js')],
      ...['--data', folder.path, '--host-id', settings.emulatedHostId, '--nats-port', String(settings.natsPort)],
      ...['--shell', emulatedShell(settings)],
      ...['--overcommit-cpu', String(overcommit.cpu), '--overcommit-memory', String(overcommit.memory)],
    ],
    env: inherited,
    stopDeadlineMs: STOP_HOST_MS + 2_000,
  };
  return [
    [
      {
        name: 'nats-server',
        command: natsServer(),
        args: ['-c', folder.natsConfigFile],
        env: inherited,
        ready: (signal) => tcpReady('127.0.0.1', settings.natsPort, signal),
        stopDeadlineMs: NATS_STOP_MS,
      },
    ],
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

/** Debian puts it where only root's PATH leads. */
function natsServer(): string {
  const chosen = process.env['VOLLEY_NATS_SERVER'];
  if (chosen) return chosen;
  return (
    ['/usr/sbin/nats-server', '/usr/local/bin/nats-server', '/usr/bin/nats-server'].find(existsSync) ?? 'nats-server'
  );
}
