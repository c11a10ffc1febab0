import type { VmmChoice } from '#protocol';
import { NATS_SERVER } from '../keys/reload-nats';
import type { DataFolder } from './data-folder';
import { rotateLog } from './log-file';
import { MARK, markedProcesses, markOf } from './marked-processes';
import { endProcess, identify } from './process-identity';
import type { ProcessSpec } from './process-spec';
import { SupervisedProcess } from './supervised-process';
import { SupervisorLock } from './supervisor-lock';
import { writeState, type SupervisorPhase } from './supervisor-state';

const ROTATION_PERIOD_MS = 10_000;

export interface SupervisorOptions {
  folder: DataFolder;
  /** Where REST will be, for the state file. */
  url: string;
  /** What its host agent starts for microVMs, for the state file. */
  vmm?: VmmChoice;
  /**
   * Makes the processes, once the folder is held. In groups: the processes of one group start together, when those of the groups
   * before are ready. They stop in reverse.
   */
  processes: () => Promise<ProcessSpec[][]>;
  note: (text: string) => void;
}

/** Holds a data folder and keeps the processes of a control plane alive on it. */
export class Supervisor {
  readonly #since = Date.now();
  readonly #abort = new AbortController();
  #groups: SupervisedProcess[][] = [];
  #phase: SupervisorPhase = 'starting';
  #rotation: NodeJS.Timeout | undefined;
  #stopped: Promise<void> | undefined;

  private constructor(
    private readonly options: SupervisorOptions,
    private readonly lock: SupervisorLock,
  ) {}

  /**
   * Takes the folder. Nothing is started yet.
   *
   * @throws FolderInUseError
   */
  static async of(options: SupervisorOptions): Promise<Supervisor> {
    return new Supervisor(options, await SupervisorLock.take(options.folder));
  }

  /** Ends what a supervisor that died has left running (its microVMs go on), and starts every process. */
  async start(): Promise<void> {
    const { signal } = this.#abort;
    this.#publish();
    const { folder, note } = this.options;
    await endMarked(folder, note);
    const specs = await this.options.processes();
    if (signal.aborted) return;
    this.#groups = specs.map((group) => group.map((spec) => this.#supervise(spec)));
    const logs = this.#groups.flat().map(({ spec }) => folder.logFile(spec.name));
    this.#rotation = setInterval(() => logs.forEach((file) => rotateLog(file)), ROTATION_PERIOD_MS);
    for (const group of this.#groups) {
      if (signal.aborted) return;
      for (const member of group) member.start();
      try {
        await Promise.all(group.map(async ({ spec }) => spec.ready?.(signal)));
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
    }
    this.#phase = 'up';
    this.#publish();
  }

  #supervise(spec: ProcessSpec): SupervisedProcess {
    const { folder, note } = this.options;
    const marked = { ...spec, env: { ...spec.env, [MARK]: markOf(folder.path, spec.name) } };
    return new SupervisedProcess(marked, { logFile: folder.logFile(spec.name), note, changed: () => this.#publish() });
  }

  /** Stops every process, the last started first, and gives the folder back. microVMs are hostd's, and go on. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#abort.abort();
    this.#phase = 'stopping';
    this.#publish();
    clearInterval(this.#rotation);
    for (const group of [...this.#groups].reverse()) await Promise.all(group.map((member) => member.stop()));
    this.#phase = 'down';
    this.#publish();
    this.lock.release();
  }

  #publish(): void {
    const supervisor = identify(process.pid);
    if (!supervisor) return;
    const { folder, url, vmm } = this.options;
    writeState(folder, {
      supervisor,
      phase: this.#phase,
      since: this.#since,
      url,
      ...(vmm === undefined ? {} : { vmm }),
      processes: this.#groups.flat().map(({ status }) => status),
    });
  }
}

/** Ends the processes that a dead supervisor of this folder left behind. */
export async function endMarked(
  folder: DataFolder,
  note: (text: string) => void,
  deadlineMs = 16_000,
): Promise<number> {
  const left = markedProcesses(folder.path);
  // nats-server last: the others want to say goodbye.
  const servers = left.filter(({ name }) => name.startsWith(NATS_SERVER));
  const services = left.filter(({ name }) => !name.startsWith(NATS_SERVER));
  for (const some of [services, servers]) {
    await Promise.all(
      some.map(async (one) => {
        const how = await endProcess(one, deadlineMs);
        note(
          `${one.name} with pid ${one.pid}, left behind by a supervisor that died, ${how === 'killed' ? 'was killed' : 'has ended'}`,
        );
      }),
    );
  }
  return left.length;
}
