import { spawn, type ChildProcess } from 'node:child_process';
import { BackOff } from './back-off';
import { closeLog, openLog } from './log-file';
import type { ProcessSpec } from './process-spec';

export interface ProcessStatus {
  name: string;
  /** null: waiting to be started again. */
  pid: number | null;
  /** ms since 1970 */
  startedAt: number | null;
  restarts: number;
  /** Short lives in a row; more than a few mean that it cannot work as it is. */
  shortLives: number;
  /** How it ended the last time. */
  lastExit: string | null;
}

export interface SupervisedProcessOptions {
  logFile: string;
  /** Told about starts and ends. */
  note: (text: string) => void;
  changed: () => void;
}

/** Keeps one process alive: starts it, starts it again when it dies, and stops it for good. */
export class SupervisedProcess {
  readonly #backOff = new BackOff();
  #child: ChildProcess | undefined;
  #startedAt = 0;
  #restarts = 0;
  #lastExit: string | null = null;
  #again: NodeJS.Timeout | undefined;
  #stopping = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(
    readonly spec: ProcessSpec,
    private readonly options: SupervisedProcessOptions,
  ) {}

  get status(): ProcessStatus {
    const running = this.#child?.pid;
    return {
      name: this.spec.name,
      pid: running ?? null,
      startedAt: running === undefined ? null : this.#startedAt,
      restarts: this.#restarts,
      shortLives: this.#backOff.shortLives,
      lastExit: this.#lastExit,
    };
  }

  start(): void {
    const { spec, options } = this;
    const log = openLog(options.logFile);
    let child: ChildProcess;
    try {
      // A session of its own: a Ctrl-C in the terminal is for the supervisor to act on, not for everyone at once.
      child = spawn(spec.command, spec.args, { env: spec.env, stdio: ['ignore', log, log], detached: true });
    } finally {
      closeLog(log);
    }
    this.#child = child;
    this.#startedAt = Date.now();
    const startedMs = performance.now();
    this.#ended = new Promise((resolve) => {
      let over = false;
      const end = (how: string): void => {
        if (over) return;
        over = true;
        this.#child = undefined;
        this.#onEnd(child.pid, how, performance.now() - startedMs);
        resolve();
      };
      child.once('error', (error) => {
        if (child.pid === undefined) end(`could not be started: ${error.message}`);
      });
      child.once('exit', (code, signal) => end(signal ? `killed by ${signal}` : `exited with code ${code}`));
    });
    if (child.pid !== undefined) options.note(`${spec.name} started with pid ${child.pid}`);
    options.changed();
  }

  #onEnd(pid: number | undefined, how: string, livedMs: number): void {
    const { spec, options } = this;
    this.#lastExit = how;
    const who = pid === undefined ? spec.name : `${spec.name} with pid ${pid}`;
    if (this.#stopping) {
      options.note(`${who} stopped: ${how}`);
    } else {
      const waitMs = this.#backOff.afterLifeOf(livedMs);
      this.#restarts++;
      options.note(
        `${who} died after ${(livedMs / 1000).toFixed(1)} s: ${how}; starting it again in ${waitMs} ms; see ${options.logFile}`,
      );
      this.#again = setTimeout(() => this.start(), waitMs);
    }
    options.changed();
  }

  /** SIGTERM, and SIGKILL when the deadline passes; never starts it again. Resolves when the process is gone. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#again);
    const child = this.#child;
    if (!child) return;
    child.kill('SIGTERM');
    const late = setTimeout(() => {
      this.options.note(`${this.spec.name} did not stop within ${this.spec.stopDeadlineMs} ms: killing it`);
      child.kill('SIGKILL');
    }, this.spec.stopDeadlineMs);
    await this.#ended;
    clearTimeout(late);
  }
}
