import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, tcpReady } from '#ports';
import { CliError } from '../../errors';
import { repositoryRoot } from '../../repository-root';

const READY_MS = 60_000;
const LOG_LINES = 20;

/** One process of the plane under measurement. */
export interface BenchProcess {
  readonly name: string;
  readonly child: ChildProcess;
  /** Resolves when it has ended, or could not be started. */
  readonly gone: Promise<void>;
}

/** A control plane of its own for measurements: nats-server, controllers, placement and a swarm of hosts, without keys, on the loopback. */
export class BenchPlane {
  readonly #folder = mkdtempSync(join(tmpdir(), 'volley-bench-'));
  readonly #processes = new Map<string, BenchProcess>();
  #port = 0;

  get url(): string {
    return `nats://127.0.0.1:${this.#port}`;
  }

  /** Without `hosts` there is no swarm: whoever measures brings hosts of its own. */
  async start(options: { controllers: number; hosts: number; vcpusPerCpu: number }): Promise<void> {
    const port = (this.#port = await freePort('127.0.0.1'));
    const config = join(this.#folder, 'nats.conf');
    const store = JSON.stringify(join(this.#folder, 'store'));
    writeFileSync(
      config,
      `host: 127.0.0.1\nport: ${port}\nping_interval: "2s"\nping_max: 2\njetstream { store_dir: ${store} }\n`,
    );
    const nats = this.#launch('nats-server', 'nats-server', ['-c', config], {});
    const died = nats.gone.then(() => {
      throw new CliError('nats-server ended at once, or is not installed (Debian package nats-server)');
    });
    await Promise.race([tcpReady('127.0.0.1', port, AbortSignal.timeout(READY_MS)), died]);
    const service = (name: string, env: Record<string, string> = {}): Promise<void> => this.#service(name, name, env);
    await Promise.all([
      service('placement'),
      ...this.controllers(options.controllers).map((name) =>
        this.#service(name, 'controller', { VOLLEY_CONTROLLER_ID: name }),
      ),
    ]);
    if (options.hosts > 0) await this.#startSwarm(options);
  }

  async #startSwarm({ hosts, vcpusPerCpu }: { hosts: number; vcpusPerCpu: number }): Promise<void> {
    const args = [join(__dirname, 'swarm-process.js'), this.url, String(hosts), String(vcpusPerCpu)];
    await this.#ready(this.#launch('swarm', process.execPath, args, {}), 'is ready');
  }

  controllers(count: number): string[] {
    return Array.from({ length: count }, (_, i) => `bench-controller-${i + 1}`);
  }

  /** SIGKILL; resolves when it is gone. */
  async kill9(name: string): Promise<void> {
    const { child, gone } = this.#processes.get(name)!;
    this.#processes.delete(name);
    child.kill('SIGKILL');
    await gone;
  }

  /** SIGSTOP and, after so many ms, SIGCONT. */
  async frozenFor(names: readonly string[], ms: number): Promise<void> {
    const children = names.map((name) => this.#processes.get(name)!.child);
    for (const child of children) child.kill('SIGSTOP');
    await pause(ms);
    for (const child of children) child.kill('SIGCONT');
  }

  async restart(name: string): Promise<void> {
    await this.#service(name, 'controller', { VOLLEY_CONTROLLER_ID: name });
  }

  /** Of every process that runs, by name. */
  pids(): Record<string, number> {
    return Object.fromEntries([...this.#processes.values()].map(({ name, child }) => [name, child.pid!]));
  }

  async stop(): Promise<void> {
    for (const name of [...this.#processes.keys()].reverse()) await this.kill9(name).catch(() => undefined);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #service(name: string, app: string, env: Record<string, string>): Promise<void> {
    const main = join(repositoryRoot(), 'dist', 'apps', app, 'src', 'main.js');
    return this.#ready(
      this.#launch(name, process.execPath, [main], { VOLLEY_NATS_URL: this.url, VOLLEY_LOG_LEVEL: 'info', ...env }),
      'is ready',
    );
  }

  #launch(name: string, command: string, args: string[], env: Record<string, string>): BenchProcess {
    const child = spawn(command, args, {
      env: { PATH: process.env['PATH'], NODE_ENV: 'production', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stderr!.resume();
    child.stdout!.resume();
    const killAtExit = (): void => void child.kill('SIGKILL');
    process.once('exit', killAtExit);
    // Told once: it may have died long before somebody ends it.
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()).once('error', () => resolve()));
    void gone.then(() => process.removeListener('exit', killAtExit));
    const launched = { name, child, gone };
    this.#processes.set(name, launched);
    return launched;
  }

  async #ready({ name, child }: BenchProcess, word: string): Promise<void> {
    const lines: string[] = [];
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string): void =>
        reject(new CliError(`${name} ${why}:\n${lines.slice(-LOG_LINES).join('\n')}`));
      const timer = setTimeout(() => fail(`was not ready within ${READY_MS / 1_000} s`), READY_MS);
      const hear = (chunk: Buffer): void => {
        lines.push(chunk.toString().trimEnd());
        if (!chunk.includes(word)) return;
        clearTimeout(timer);
        child.stdout!.off('data', hear);
        child.stdout!.resume();
        resolve();
      };
      child.stdout!.on('data', hear);
      child.stderr!.on('data', (chunk: Buffer) => lines.push(chunk.toString().trimEnd()));
      child.once('exit', (code, signal) => fail(`ended with ${code ?? signal}`));
      child.once('error', (error) => fail(`could not be started: ${error.message}`));
    });
  }
}
