import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(__dirname, '../..');

/** A built service in a process of its own, which a test may kill and start again. */
export class ServiceProcess {
  #child: ChildProcess | undefined;
  #log: string[] = [];

  private constructor(
    readonly app: string,
    private readonly env: Record<string, string>,
  ) {}

  /** Starts `dist/apps/<app>/src/main.js` and waits until it says that it is ready. */
  static async start(app: string, env: Record<string, string>): Promise<ServiceProcess> {
    const service = new ServiceProcess(app, env);
    await service.restart();
    return service;
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  /** The last lines it logged. */
  get log(): string {
    return this.#log.slice(-40).join('\n');
  }

  async restart(): Promise<void> {
    const main = join(ROOT, 'dist/apps', this.app, 'src/main.js');
    if (!existsSync(main)) throw new Error(`${main} is missing: run npm run build:ts first`);
    const child = spawn(process.execPath, [main], {
      cwd: ROOT,
      env: { PATH: process.env['PATH'], ...this.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    const killAtExit = (): void => void child.kill('SIGKILL');
    process.once('exit', killAtExit);
    child.once('exit', () => process.removeListener('exit', killAtExit));
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${this.app} was not ready within 20 s:\n${this.log}`)), 20_000);
      const onData = (chunk: Buffer): void => {
        this.#log.push(...chunk.toString().trimEnd().split('\n'));
        if (this.#log.length > 400) this.#log.splice(0, 200);
        if (chunk.includes('is ready')) {
          clearTimeout(timer);
          resolve();
        }
      };
      child.stdout!.on('data', onData);
      child.stderr!.on('data', onData);
      child.once('exit', (code, signal) => {
        clearTimeout(timer);
        reject(new Error(`${this.app} ended with ${code ?? signal} before it was ready:\n${this.log}`));
      });
    });
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
}
