import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, tcpReady } from '#ports';
import { describeUnless } from './skip-aloud';

const BINARY = process.env['VOLLEY_NATS_SERVER'] ?? 'nats-server';

export interface NatsServerOptions {
  /** Default: a free one. */
  port?: number;
  /** Default: a fresh folder, removed by `stop()`. */
  storeDir?: string;
  /** Default true. */
  jetstream?: boolean;
  /** More lines of configuration. */
  config?: string;
}

/** A real nats-server with JetStream, on a port and a folder of its own, which a test may kill and start again. */
export interface NatsServer {
  readonly url: string;
  readonly port: number;
  readonly storeDir: string;
  readonly pid: number;
  /** SIGKILL, as a crash would; resolves when the process is gone. */
  kill9(): Promise<void>;
  /** Starts again on the same port and folder; kills it before if it still runs. */
  restart(): Promise<void>;
  /** Stops the process and removes the folder, if it was made here. */
  stop(): Promise<void>;
}

/** Whether the binary is there. Use with `describe.skip`, and say why. */
export function natsServerMissing(): string | undefined {
  const { error, status } = spawnSync(BINARY, ['--version'], { stdio: 'ignore', timeout: 60_000 });
  return error || status !== 0 ? `${BINARY} is not installed (Debian package nats-server)` : undefined;
}

/** `describe`, or a skipped one that says aloud why. */
export function describeWithNats(title: string, body: () => void): void {
  describeUnless(natsServerMissing(), title, body);
}

export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const folder = await mkdtemp(join(tmpdir(), 'volley-nats-'));
  const storeDir = options.storeDir ?? join(folder, 'store');
  const port = options.port ?? (await freePort('127.0.0.1'));
  const configFile = join(folder, 'nats.conf');
  const jetstream = options.jetstream === false ? '' : `jetstream { store_dir: ${JSON.stringify(storeDir)} }`;
  await writeFile(configFile, ['host: 127.0.0.1', `port: ${port}`, jetstream, options.config ?? '', ''].join('\n'));
  let child = await launch(configFile, port);
  // A test run that is cut short must not leave servers behind.
  const killAtExit = (): void => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', killAtExit);

  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  };
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    storeDir,
    get pid() {
      return child.pid!;
    },
    kill9: () => end('SIGKILL'),
    async restart() {
      await end('SIGKILL');
      child = await launch(configFile, port);
    },
    async stop() {
      await end('SIGKILL');
      process.removeListener('exit', killAtExit);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function launch(configFile: string, port: number): Promise<ChildProcess> {
  const child = spawn(BINARY, ['-c', configFile], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr!.setEncoding('utf8');
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`nats-server is not ready after 60 s:\n${log}`)), 60_000);
      child.stderr!.on('data', (text: string) => {
        if (log.length < 20_000) log += text;
        if (log.includes('Server is ready')) resolve();
      });
      child.once('error', reject);
      child.once('exit', (code, signal) => reject(new Error(`nats-server ended with ${code ?? signal}:\n${log}`)));
    });
    // The ready line is written before the first accept on some versions.
    await tcpReady('127.0.0.1', port, AbortSignal.timeout(60_000));
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  } finally {
    clearTimeout(timer);
  }
  return child;
}
