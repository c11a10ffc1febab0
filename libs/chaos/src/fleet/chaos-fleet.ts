import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { connect, nkeyAuthenticator, type NatsConnection } from 'nats';
import { inboxOf, nameOf, type Party } from '#access';
import { readNkey } from '#keys';
import { ClockShim, clockShimMissing } from '../clock/clock-shim';
import type { HostPlace } from '../host/scan-belongings';
import { scanVmms, stillRuns, type FoundVmm } from '../invariants/scan-vmms';
import type { SeededRandom } from '../seeded-random';
import { FaultProxy } from '../wire/fault-proxy';
import { environmentOf, SecondHost } from './second-host';
import { mountTightDisk, tightDiskMissing, type TightDisk } from './tight-disk';
import { until } from './wait';

const run = promisify(execFile);
const COMMAND_MS = 120_000;
const REQUEST_MS = 4_000;
/** The disk of the second host. What is not written takes nothing. */
const SECOND_DISK_BYTES = 320 * 2 ** 20;

export const SECOND_HOSTD = 'volley-hostd-2';

export interface ChaosFleetOptions {
  /** The checkout whose `volley` is started. */
  root: string;
  /** Most microVMs on each of the two hosts. */
  slots: number;
  /** Further options of `volley up`. */
  up?: readonly string[];
  random: SeededRandom;
}

export interface Answer<T> {
  status: number;
  body: T;
}

interface Settings {
  hostId: string;
  natsPort: number;
  cluster?: { ports: number[] };
  runDir: string;
}

interface SupervisorState {
  url: string;
  processes: { name: string; pid: number | null }[];
}

/**
 * A whole Volley of two hosts on this machine, to be hurt: everything that `volley up` starts, and a second host agent behind a proxy
 * that spoils its connection, with its folder on a small disk of its own.
 */
export class ChaosFleet {
  readonly data = mkdtempSync(join(tmpdir(), 'volley-chaos-'));
  #second: SecondHost | undefined;
  #proxy: FaultProxy | undefined;
  #disk: TightDisk | undefined;
  #clocks: ClockShim | undefined;
  #token = '';
  #nats: NatsConnection | undefined;

  private constructor(private readonly options: ChaosFleetOptions) {}

  static async up(options: ChaosFleetOptions): Promise<ChaosFleet> {
    const fleet = new ChaosFleet(options);
    try {
      await fleet.#up();
      return fleet;
    } catch (error) {
      await fleet.down().catch(() => undefined);
      throw error;
    }
  }

  get second(): SecondHost {
    return this.#second!;
  }

  /** Between the second host and NATS. */
  get proxy(): FaultProxy {
    return this.#proxy!;
  }

  /** That the second host's folder lies on; undefined where this user may not mount. */
  get disk(): TightDisk | undefined {
    return this.#disk;
  }

  /** Undefined where nothing can be compiled. */
  get clocks(): ClockShim | undefined {
    return this.#clocks;
  }

  get hosts(): HostPlace[] {
    const { hostId, runDir } = this.#settings();
    return [{ hostId, hostDir: join(this.data, 'host'), runDir }, this.second.place];
  }

  /** All processes by name; those that are down are left out. */
  processes(): Map<string, number> {
    const { processes } = this.#state();
    const found = new Map(processes.flatMap(({ name, pid }) => (pid === null ? [] : [[name, pid] as const])));
    if (this.#second?.pid !== undefined) found.set(SECOND_HOSTD, this.#second.pid);
    return found;
  }

  /** Sends a signal to the process of that name. False when it is down. */
  signal(name: string, signal: NodeJS.Signals): boolean {
    const pid = this.processes().get(name);
    return pid !== undefined && send(pid, signal);
  }

  /** The VMMs of both hosts. */
  vmms(): FoundVmm[] {
    return scanVmms(...this.hosts.map(({ runDir }) => runDir));
  }

  /** One REST call. Rejects when no answer came. */
  async rest<T = unknown>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> {
    const response = await fetch(`${this.#state().url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(REQUEST_MS),
    });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') && text !== '';
    return { status: response.status, body: (isJson ? JSON.parse(text) : text) as T };
  }

  /** The connection by which checkers read: it outlives restarts of the server, and may change nothing. */
  async nats(): Promise<NatsConnection> {
    this.#nats ??= await this.connectAs('auditor');
    return this.#nats;
  }

  /** A connection with the rights of another one, for planting what that one would never do. The caller closes it. */
  connectAs(party: Party): Promise<NatsConnection> {
    const { natsPort, cluster } = this.#settings();
    return connect({
      servers: (cluster?.ports ?? [natsPort]).map((port) => `127.0.0.1:${port}`),
      ...(cluster ? { tls: { caFile: join(this.data, 'keys', 'tls', 'ca.pem') } } : {}),
      authenticator: nkeyAuthenticator(Buffer.from(readNkey(this.#keyFile(party)).seed)),
      inboxPrefix: inboxOf(party),
      maxReconnectAttempts: -1,
      reconnectTimeWait: 100,
    });
  }

  /** Stops everything, and removes the folder unless it is to be looked at. */
  async down({ keep = false }: { keep?: boolean } = {}): Promise<void> {
    await this.#nats?.close();
    for (const pid of this.processes().values()) send(pid, 'SIGCONT');
    await this.#second?.hold();
    await this.#volley('down', '--grace', '1s', '--timeout', '20s');
    // Those of the second host are not known to `down`.
    if (this.#second)
      for (const vmm of scanVmms(this.second.place.runDir)) if (stillRuns(vmm)) send(vmm.pid, 'SIGKILL');
    await this.#proxy?.close();
    if (this.#second) rmSync(this.second.place.runDir, { recursive: true, force: true });
    if (keep) return;
    this.#disk?.unmount();
    rmSync(this.data, { recursive: true, force: true });
  }

  async #up(): Promise<void> {
    const { slots, up = [], random } = this.options;
    const shimmed = [
      'volley-controller',
      'volley-controller-2',
      'volley-placement',
      'volley-gateway',
      'volley-hostd',
      SECOND_HOSTD,
    ];
    if (clockShimMissing() === undefined) this.#clocks = ClockShim.build(this.options.root, this.data, shimmed);
    await this.#volley('up', '--detach', '--no-canary', '--port', '0', ...up, { VOLLEY_SLOTS: String(slots) });
    this.#token = readFileSync(join(this.data, 'operator.token'), 'utf8').trim();
    this.#proxy = await FaultProxy.listen(() => this.#settings().natsPort, random);
    await this.#startSecond();
    await until(
      'both hosts are ready',
      async () => {
        const { body } = await this.rest<{ items: { state: string }[] }>('GET', '/v1/hosts');
        return body.items.filter(({ state }) => state === 'ready').length === 2;
      },
      30_000,
    );
  }

  async #startSecond(): Promise<void> {
    const { runDir, hostId } = this.#settings();
    const hostDir = join(this.data, 'second');
    if (tightDiskMissing() === undefined) this.#disk = mountTightDisk(hostDir, SECOND_DISK_BYTES);
    const agent = this.processes().get('volley-hostd');
    if (agent === undefined) throw new Error('volley-hostd does not run');
    const second = { hostId: `${hostId}-second` };
    await this.#volley('keys', 'add', nameOf(second));
    this.#second = new SecondHost({
      program: join(this.options.root, 'dist/apps/hostd/src/main.js'),
      env: { ...environmentOf(agent), VOLLEY_NATS_NKEY_FILE: this.#keyFile(second) },
      folder: this.data,
      place: { ...second, hostDir, runDir: `${runDir}-second` },
      natsPort: this.proxy.port,
      mark: `${this.data}#${SECOND_HOSTD}`,
    });
    this.#second.start();
  }

  async #volley(...args: (string | Record<string, string>)[]): Promise<void> {
    const words = args.filter((arg) => typeof arg === 'string');
    const env = Object.assign({}, ...args.filter((arg) => typeof arg !== 'string')) as Record<string, string>;
    await run(join(this.options.root, 'volley'), [...words, '--data', this.data], {
      env: {
        PATH: process.env['PATH'],
        HOME: process.env['HOME'],
        VOLLEY_SETUP: 'skip',
        VOLLEY_NETWORK: 'off',
        ...this.#clocks?.env,
        ...env,
      },
      timeout: COMMAND_MS,
    });
  }

  #keyFile(party: Party): string {
    return join(this.data, 'keys', `${nameOf(party)}.nk`);
  }

  #state(): SupervisorState {
    return JSON.parse(readFileSync(join(this.data, 'supervisor.json'), 'utf8')) as SupervisorState;
  }

  #settings(): Settings {
    return JSON.parse(readFileSync(join(this.data, 'settings.json'), 'utf8')) as Settings;
  }
}

/** False when there is no such process. */
function send(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
