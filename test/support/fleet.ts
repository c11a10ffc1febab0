import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { NatsConnection } from 'nats';
import { nameOf, type Party } from '#access';
import { connectNats } from '#bus';
import { environmentOf, scanVmms, SecondHost, type FoundVmm } from '#chaos';
import type { Host, HostStateName, Microvm, MicrovmSpecInput, MicrovmStateName, VmmChoice } from '#protocol';

const run = promisify(execFile);
const ROOT = join(__dirname, '../..');
/** How long something may take that happens at once on a quiet machine; only what is broken takes as long. */
const PATIENCE_MS = 60_000;
/** Exit code of `volley status` for a fleet that is not ready. */
const NOT_READY = 3;

export type ProcessName =
  | 'nats-server'
  | `nats-server-${1 | 2 | 3}`
  | 'volley-controller'
  | 'volley-controller-2'
  | 'volley-placement'
  | 'volley-images'
  | 'volley-hostd'
  | 'volley-gateway';

interface Settings {
  hostId: string;
  runDir: string;
  natsPort: number;
  cluster?: { ports: number[] };
}

interface Status {
  url: string;
  processes: { name: string; pid: number | null; restarts: number }[];
}

export interface Answer<T = unknown> {
  status: number;
  body: T;
  headers: Headers;
}

/** A whole Volley on a folder of its own, started by `./volley up` as an operator would, that a test may hurt. */
export class Fleet {
  readonly data = mkdtempSync(join(tmpdir(), 'volley-fleet-'));
  url = '';
  token = '';
  /** Most time one command may take, ms, and one REST call. */
  commandMs = 300_000;
  requestMs = 90_000;

  /** In addition to the settings that every fleet gets. */
  env: Record<string, string> = {};
  /** Words in front of `volley up`: a program that runs another one in circumstances of its own. */
  within: readonly string[] = [];

  /** What microVMs of its host are. */
  constructor(readonly vmm: VmmChoice = 'kvm') {}

  static up(...options: string[]): Promise<Fleet> {
    return Fleet.upWith('kvm', ...options);
  }

  static async upWith(vmm: VmmChoice, ...options: string[]): Promise<Fleet> {
    const fleet = new Fleet(vmm);
    await fleet.up(...options);
    return fleet;
  }

  /** Starts, or starts again on the same folder. */
  async up(...options: string[]): Promise<string> {
    const listen = this.url ? ['--listen', new URL(this.url).host] : ['--port', '0'];
    const { stdout } = await this.#run(this.within, ['up', '--detach', '--timeout', '240s', ...listen, ...options]);
    this.url = (await this.status()).url;
    this.token = readFileSync(join(this.data, 'operator.token'), 'utf8').trim();
    return stdout;
  }

  /** Runs a `volley` command on this fleet. Rejects when it fails. */
  volley(...args: string[]): Promise<{ stdout: string; stderr: string }> {
    return this.#run([], args);
  }

  #run(within: readonly string[], args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
    const [program, ...words] = [...within, join(ROOT, 'volley'), ...args, '--data', this.data];
    return run(program!, words, {
      env: {
        PATH: process.env['PATH'],
        HOME: process.env['HOME'],
        VOLLEY_SETUP: 'skip',
        VOLLEY_NETWORK: 'off',
        VOLLEY_VMM: this.vmm,
        ...this.env,
      },
      timeout: this.commandMs,
      maxBuffer: 64 * 2 ** 20,
    });
  }

  /** What runs, whether ready or not: a fleet that is just being hurt, or reconnects, is not ready for a moment. */
  async status(): Promise<Status> {
    const { stdout } = await this.volley('status', '--json').catch(
      (error: Error & { code?: number; stdout: string }) => {
        if (error.code !== NOT_READY) throw error;
        return error;
      },
    );
    return JSON.parse(stdout) as Status;
  }

  async pidOf(name: ProcessName): Promise<number> {
    const pid = (await this.status()).processes.find((one) => one.name === name)?.pid;
    if (!pid) throw new Error(`${name} does not run`);
    return pid;
  }

  /** SIGKILLs one of the fleet's own processes; resolves with the pid it had. */
  async kill9(name: ProcessName): Promise<number> {
    const pid = await this.pidOf(name);
    process.kill(pid, 'SIGKILL');
    return pid;
  }

  /** One REST call. Rejects only when no answer came. */
  async rest<T = unknown>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(this.requestMs),
    });
    const text = await response.text();
    const json = response.headers.get('content-type')?.includes('json') && text !== '';
    return { status: response.status, body: (json ? JSON.parse(text) : text) as T, headers: response.headers };
  }

  /** Creates and waits until it runs. */
  async running(spec: Partial<MicrovmSpecInput> = {}): Promise<Microvm> {
    const { status, body } = await this.rest<Microvm>('POST', '/v1/microvms?wait=running&timeout=60s', {
      image: 'canary',
      memoryMiB: 16,
      ...spec,
    });
    if (status !== 201) throw new Error(`not running: ${status} ${JSON.stringify(body)}`);
    return body;
  }

  async get(id: string): Promise<Microvm> {
    return (await this.rest<Microvm>('GET', `/v1/microvms/${id}`)).body;
  }

  /** Every living microVM, all pages. */
  async list(): Promise<Microvm[]> {
    const items: Microvm[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page: Answer<{ items: Microvm[]; nextCursor: string | null }> = await this.rest(
        'GET',
        `/v1/microvms?limit=1000${cursor ? `&cursor=${cursor}` : ''}`,
      );
      if (page.status !== 200) throw new Error(`list: ${page.status}`);
      items.push(...page.body.items);
      cursor = page.body.nextCursor;
    }
    return items;
  }

  async reaches(id: string, state: MicrovmStateName, ms = PATIENCE_MS): Promise<Microvm> {
    let last: Microvm | undefined;
    await until(`${id} is ${state}`, async () => (last = await this.get(id)).state === state, ms).catch(
      (error: unknown) => {
        throw new Error(`${String(error)}; it is ${JSON.stringify(last)}`);
      },
    );
    return last!;
  }

  /** A second host on this machine, with more settings of its own. `hold` it before the fleet goes down. */
  async secondHost(env: Record<string, string> = {}): Promise<SecondHost> {
    const { hostId, runDir, natsPort } = JSON.parse(readFileSync(join(this.data, 'settings.json'), 'utf8')) as Settings;
    const second = { hostId: `${hostId}-second` };
    await this.volley('keys', 'add', nameOf(second));
    const host = new SecondHost({
      program: join(ROOT, 'dist/apps/hostd/src/main.js'),
      env: {
        ...environmentOf(await this.pidOf('volley-hostd')),
        VOLLEY_NATS_NKEY_FILE: join(this.data, 'keys', `${nameOf(second)}.nk`),
        ...env,
      },
      folder: this.data,
      place: { ...second, hostDir: join(this.data, 'second'), runDir: `${runDir}-second` },
      natsPort,
      mark: `${this.data}#volley-hostd-second`,
    });
    host.start();
    await this.hostIs(second.hostId, 'ready');
    return host;
  }

  async hostIs(hostId: string, state: HostStateName): Promise<void> {
    const isSo = async (): Promise<boolean> =>
      (await this.rest<{ items: Host[] }>('GET', '/v1/hosts')).body.items.some(
        (host) => host.id === hostId && host.state === state,
      );
    await until(`host ${hostId} is ${state}`, isSo, 60_000);
  }

  /** VMM processes of this fleet, found by looking at the machine alone. */
  vmms(): FoundVmm[] {
    const { runDir } = JSON.parse(readFileSync(join(this.data, 'settings.json'), 'utf8')) as { runDir: string };
    return scanVmms(runDir);
  }

  /** A NATS connection to the fleet's own server, with the key of a party. */
  nats(party: Party = 'auditor'): Promise<NatsConnection> {
    const { natsPort, cluster } = JSON.parse(readFileSync(join(this.data, 'settings.json'), 'utf8')) as Settings;
    const keys = join(this.data, 'keys');
    return connectNats({
      servers: (cluster?.ports ?? [natsPort]).map((port) => `nats://127.0.0.1:${port}`),
      name: 'test',
      party,
      nkeyFile: join(keys, `${nameOf(party)}.nk`),
      ...(cluster ? { caFile: join(keys, 'tls/ca.pem') } : {}),
    });
  }

  /** The ends of all logs, for a failing test. */
  logs(lines = 30): string {
    return ['controller', 'placement', 'images', 'gateway', 'hostd']
      .map((name) => {
        const text = readFileSync(join(this.data, 'logs', `volley-${name}.log`), 'utf8');
        return `--- ${name}\n${text.trimEnd().split('\n').slice(-lines).join('\n')}`;
      })
      .join('\n');
  }

  /** Stops everything and removes the folder. */
  async down(): Promise<void> {
    await this.volley('down');
    rmSync(this.data, { recursive: true, force: true });
  }
}

/** Asks until it is so; for what has no event to wait for. An error counts as "not yet". */
export async function until(what: string, holds: () => Promise<boolean>, ms = PATIENCE_MS): Promise<void> {
  let last: unknown;
  for (const end = Date.now() + ms; ;) {
    try {
      if (await holds()) return;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}${last ? ` (${String(last)})` : ''}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
