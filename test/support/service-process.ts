import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const ROOT = join(__dirname, '../..');
/** Some 0.3 s on a quiet machine. */
const READY_MS = 60_000;

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

  /** The last lines it logged, as far as they have come: what it logs before it answers may come after the answer. */
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
      const timer = setTimeout(
        () => reject(new Error(`${this.app} was not ready within ${READY_MS} ms:\n${this.log}`)),
        READY_MS,
      );
      const onLine = (line: string): void => {
        this.#log.push(line);
        if (this.#log.length > 400) this.#log.splice(0, 200);
        if (!line.includes('is ready')) return;
        clearTimeout(timer);
        resolve();
      };
      createInterface({ input: child.stdout! }).on('line', onLine);
      createInterface({ input: child.stderr! }).on('line', onLine);
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
