import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HostPlace } from '../host/scan-belongings';
import { until } from './wait';

/** After its end an agent is started again, as a service manager would. */
const RESTART_MS = 200;
/** uids of its slots, far from those of the first host of this machine. */
const UID_BASE = 400_000;

export interface SecondHostParts {
  /** The host agent's main.js. */
  program: string;
  /** What the first host agent was given: this one gets the same but for its place. */
  env: Record<string, string>;
  /** Where its logs go. */
  folder: string;
  place: HostPlace;
  natsPort: number;
  /** Mark of the supervisor whose `down` ends it, too. */
  mark: string;
}

/** A second host agent on this machine, with folders of its own, that reaches NATS through a port of ours, if need be. Started again when it dies. */
export class SecondHost {
  #child: ChildProcess | undefined;
  #held = false;
  #again: NodeJS.Timeout | undefined;

  constructor(private readonly parts: SecondHostParts) {}

  get place(): HostPlace {
    return this.parts.place;
  }

  /** Undefined while it is down. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    const { program, env, folder, place, natsPort, mark } = this.parts;
    mkdirSync(place.hostDir, { recursive: true, mode: 0o700 });
    mkdirSync(place.runDir, { recursive: true, mode: 0o700 });
    this.#held = false;
    if (this.#child) return;
    const log = openSync(join(folder, 'logs/volley-hostd-2.log'), 'a', 0o600);
    const child = spawn(process.execPath, [program], {
      env: {
        ...env,
        VOLLEY_HOST_ID: place.hostId,
        VOLLEY_HOST_DIR: place.hostDir,
        VOLLEY_RUN_DIR: place.runDir,
        VOLLEY_UID_BASE: String(UID_BASE),
        VOLLEY_NATS_URL: `nats://127.0.0.1:${natsPort}`,
        VOLLEY_SUPERVISED: mark,
      },
      stdio: ['ignore', log, log],
      detached: true,
    });
    closeSync(log);
    this.#child = child;
    child.once('exit', () => {
      this.#child = undefined;
      if (!this.#held) this.#again = setTimeout(() => this.start(), RESTART_MS);
    });
  }

  /** SIGKILLs it and keeps it down until `start`. */
  async hold(): Promise<void> {
    this.#held = true;
    clearTimeout(this.#again);
    this.#child?.kill('SIGKILL');
    await until('the second host agent is gone', () => this.#child === undefined, 5_000);
  }
}

/** As it was given to a process; our second host agent finds NATS with what the first was given. */
export function environmentOf(pid: number): Record<string, string> {
  const pairs = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  return Object.fromEntries(pairs.filter((pair) => pair.includes('=')).map((pair) => splitAt(pair, pair.indexOf('='))));
}

const splitAt = (text: string, at: number): [string, string] => [text.slice(0, at), text.slice(at + 1)];
