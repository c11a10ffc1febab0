import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { getSystemErrorName } from 'node:util';
import { barrierNames } from './barriers';
import { concludeExit } from './conclude-exit';
import { VmmControlError, VmmGoneError, VmmLaunchError } from './errors';
import { toLaunchOrder } from './launch-spec';
import type {
  Barrier,
  KvmProbe,
  LaunchSpec,
  MicrovmDriver,
  MicrovmProcess,
  Shell,
  ShellSpec,
  VmmIdentity,
} from './microvm-driver';
import { loadNativeBinding, type NativeBinding, type NativeEngine, type NativeEvent } from './native-binding';
import { defaultShellSpec, toShellOrder } from './shell-spec';
import { checkBindingFields, StatsReader } from './stats-reader';
import { type DriverContext, VmmProcess } from './vmm-process';
import { VmmShell } from './vmm-shell';

export interface MicrovmDriverOptions {
  /** The VMM program. Opened once: replacing the file later concerns drivers made later. */
  vmmPath: string;
  /** That program only stands in for a VMM: it runs no guest, is given no KVM, and cannot go on from snapshots. Default false. */
  standIn?: boolean;
  /** The addon; default: the one built in this repository. */
  bindingPath?: string;
  /** How many launches the binding works on at a time; more wait in order. Default 4. */
  launchThreads?: number;
  /** After this long a launch, adoption or search that has not been answered is given up. Default 30 s. */
  launchDeadlineMs?: number;
  /**
   * Unix sockets of services that every guest reaches by vsock, by port. A service reads one line first, the id of the
   * microVM that calls; the guest has no say in it. A socket `vsock.sock_<port>` in a VMM's directory comes before.
   */
  vsockServices?: Readonly<Record<number, string>>;
}

/** Makes the driver and starts its threads. Throws when the addon or the VMM program cannot be opened. */
export function createMicrovmDriver(options: MicrovmDriverOptions): MicrovmDriver {
  const binding = loadNativeBinding(options.bindingPath);
  checkBindingFields(binding);
  return new NativeMicrovmDriver(binding, options);
}

const KVM_DEVICE = '/dev/kvm';
const STAND_IN: KvmProbe = {
  available: true,
  kind: 'stand-in',
  reason: 'its agent was told to start stand-ins for VMMs (VOLLEY_VMM=stand-in): no guest runs there',
};

const MAX_VSOCK_PORT = 0xffff_ffff;

function toServices(services: Readonly<Record<number, string>> = {}): Record<number, string> {
  return Object.fromEntries(
    Object.entries(services).map(([port, path]) => {
      if (!Number.isInteger(Number(port)) || Number(port) > MAX_VSOCK_PORT) {
        throw new RangeError(`vsockServices: ${port} is not a vsock port`);
      }
      return [port, resolve(path)];
    }),
  );
}

interface Request {
  /** Takes the answer at once: events about a new process may follow it in the same batch. */
  take(event: NativeEvent): void;
  fail(error: Error): void;
}

/** A question to the binding, and what becomes of its answer. */
interface Question<T> {
  what: string;
  /** Hands the question to the binding. */
  start(request: number): void;
  /** Makes a result of the answer, or throws the error that it stands for. */
  take(event: NativeEvent): T;
  /** The error for callers when no answer comes: nobody waits for it any longer. */
  failure(why: string, code?: string): Error;
  /** Undoes an answer that comes too late. */
  undo(event: NativeEvent): void;
}

function refusal(event: NativeEvent): VmmLaunchError {
  const refused = event as Extract<NativeEvent, { kind: 'refused' }>;
  return new VmmLaunchError(refused.message, refused.errno > 0 ? getSystemErrorName(-refused.errno) : undefined);
}

class NativeMicrovmDriver implements MicrovmDriver {
  readonly #engine: NativeEngine;
  readonly #context: DriverContext;
  #probed: KvmProbe | undefined;
  readonly #requests = new Map<number, Request>();
  readonly #processes = new Map<number, VmmProcess>();
  readonly #shells = new Map<number, VmmShell>();
  /** Directories of VMMs that came too late and were killed, by handle: cleared when their end is known. */
  readonly #unwanted = new Map<number, string>();
  readonly #deadlineMs: number;
  #lastRequest = 0;
  #held = 0;
  #closed = false;

  constructor(
    private readonly binding: NativeBinding,
    private readonly options: MicrovmDriverOptions,
  ) {
    const threads = options.launchThreads ?? 4;
    if (!Number.isInteger(threads) || threads < 1 || threads > 64) {
      throw new RangeError('launchThreads must be a whole number from 1 to 64');
    }
    this.#deadlineMs = options.launchDeadlineMs ?? 30_000;
    this.#engine = new binding.Engine(
      resolve(options.vmmPath),
      threads,
      (events) => {
        for (const event of events) this.#onEvent(event);
      },
      toServices(options.vsockServices),
      options.standIn ? '' : KVM_DEVICE,
    );
    this.#context = {
      engine: this.#engine,
      stats: new StatsReader(this.#engine),
      nextRequest: () => this.#nextRequest(),
      hold: () => this.#hold(),
      letGo: () => this.#letGo(),
      forget: (handle) => this.#processes.delete(handle),
      isClosed: () => this.#closed,
      kvmKind: () => this.#kvmKind(),
    };
  }

  probe(): KvmProbe {
    return this.options.standIn ? STAND_IN : this.binding.probe(KVM_DEVICE);
  }

  #kvmKind(): KvmProbe['kind'] {
    return (this.#probed ??= this.probe()).kind;
  }

  jail(): { barriers: Barrier[]; missing: { name: Barrier; reason: string }[] } {
    if (this.#closed) throw new VmmLaunchError('the microVM driver was closed');
    const { barriers, missing } = this.#engine.jail();
    return {
      barriers: barrierNames(barriers),
      missing: missing.flatMap(({ barrier, reason }) => barrierNames(barrier).map((name) => ({ name, reason }))),
    };
  }

  openTap(name: string, namespacePath: string): number {
    try {
      return this.binding.openTap(name, resolve(namespacePath));
    } catch (error) {
      const { message, errno = 0 } = error as NodeJS.ErrnoException;
      throw new VmmLaunchError(message, errno > 0 ? getSystemErrorName(-errno) : undefined);
    }
  }

  async prepare(spec: ShellSpec): Promise<Shell> {
    const order = toShellOrder(spec);
    return this.#ask({
      what: 'a new shell',
      start: (request) => this.#engine.prepare(request, order),
      take: (event) => {
        if (event.kind !== 'shell') throw refusal(event);
        const shell = new VmmShell(event.handle, event.pid, barrierNames(event.barriers), ({ handle }) => {
          if (!this.#closed) this.#engine.discard(handle);
        });
        this.#shells.set(event.handle, shell);
        return shell;
      },
      failure: (why, code) => new VmmLaunchError(why, code),
      undo: (event) => {
        if (event.kind === 'shell') this.#engine.discard(event.handle);
      },
    });
  }

  async prime(shell: Shell, directory: string): Promise<void> {
    const path = resolve(directory);
    const known = shell instanceof VmmShell && this.#shells.get(shell.handle) === shell;
    if (!known || !shell.beginPriming())
      throw new VmmLaunchError('the shell was used, primed or discarded, or has ended', 'ESRCH');
    return this.#ask({
      what: 'priming a shell',
      start: (request) => this.#engine.prime(request, shell.handle, path),
      take: (event) => {
        if (event.kind !== 'primed') throw refusal(event);
        shell.onPrimed(path);
      },
      failure: (why, code) => new VmmLaunchError(why, code),
      undo: () => shell.discard(),
    });
  }

  async launch(spec: LaunchSpec, shell?: Shell): Promise<MicrovmProcess> {
    const order = toLaunchOrder(spec);
    const make = shell === undefined ? toShellOrder(spec.shell ?? defaultShellSpec()) : undefined;
    const handle = shell === undefined ? 0 : this.#takeShell(shell);
    return this.#ask({
      what: 'a new process',
      start: (request) => this.#engine.launch(request, order, make, handle),
      take: (event) => {
        if (event.kind !== 'launched') throw refusal(event);
        this.#shells.delete(handle);
        return this.#hire(event, order.id, order.directory, 'parent');
      },
      failure: (why, code) => new VmmLaunchError(why, code),
      undo: (event) => {
        if (event.kind !== 'launched') return;
        this.#unwanted.set(event.handle, order.directory);
        this.#engine.kill(event.handle);
      },
    });
  }

  #takeShell(shell: Shell): number {
    const known = shell instanceof VmmShell && this.#shells.get(shell.handle) === shell;
    if (!known || !shell.take()) throw new VmmLaunchError('the shell was used, discarded or has ended', 'ESRCH');
    return shell.handle;
  }

  async adopt(id: string, identity: VmmIdentity): Promise<MicrovmProcess> {
    const { pid, startTicks, bootId } = identity;
    const directory = resolve(identity.directory);
    return this.#ask({
      what: `adopting microVM ${id}`,
      start: (request) => this.#engine.adopt(request, { id, pid, startTicks, bootId, directory }),
      take: (event) => {
        if (event.kind === 'launched') return this.#hire(event, id, directory, 'adopter');
        if (event.kind === 'refused') throw new VmmControlError(event.message);
        const gone = event as Extract<NativeEvent, { kind: 'gone' }>;
        throw new VmmGoneError(concludeExit(gone.evidence, 'nobody'));
      },
      failure: (why) => new VmmControlError(why),
      undo: (event) => {
        if (event.kind === 'launched') this.#engine.release(event.handle);
      },
    });
  }

  async find(id: string, directory: string): Promise<VmmIdentity | undefined> {
    const path = resolve(directory);
    return this.#ask({
      what: `looking for microVM ${id}`,
      start: (request) => this.#engine.find(request, id, path),
      take: (event) => {
        const { pid, startTicks } = event as Extract<NativeEvent, { kind: 'found' }>;
        return pid === 0 ? undefined : { pid, startTicks, bootId: this.#engine.bootId, directory: path };
      },
      failure: (why) => new VmmControlError(why),
      undo: () => undefined,
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#engine.close();
    for (const request of [...this.#requests.values()]) request.fail(new Error('the microVM driver was closed'));
    for (const process of this.#processes.values()) process.onClosed();
    this.#processes.clear();
    for (const shell of this.#shells.values()) shell.onEnded();
    this.#shells.clear();
  }

  #ask<T>(question: Question<T>): Promise<T> {
    if (this.#closed) return Promise.reject(question.failure('the microVM driver was closed'));
    return new Promise((fulfil, reject) => {
      const request = this.#nextRequest();
      const settle = () => {
        clearTimeout(timer);
        this.#requests.delete(request);
        this.#letGo();
      };
      const timer = setTimeout(() => {
        settle();
        this.#requests.set(request, {
          take: (event) => {
            this.#requests.delete(request);
            question.undo(event);
          },
          fail: () => undefined,
        });
        reject(question.failure(`${question.what}: no answer within ${this.#deadlineMs} ms`, 'ETIMEDOUT'));
      }, this.#deadlineMs);
      this.#requests.set(request, {
        take: (event) => {
          settle();
          try {
            fulfil(question.take(event));
          } catch (error) {
            reject(error as Error);
          }
        },
        fail: (error) => {
          settle();
          reject(question.failure(error.message));
        },
      });
      this.#hold();
      question.start(request);
    });
  }

  #hire(
    event: Extract<NativeEvent, { kind: 'launched' }>,
    id: string,
    directory: string,
    witness: 'parent' | 'adopter',
  ): VmmProcess {
    const identity = { pid: event.pid, startTicks: event.startTicks, bootId: this.#engine.bootId, directory };
    const process = new VmmProcess(this.#context, event.handle, id, identity, witness, event.bootedNs);
    this.#processes.set(event.handle, process);
    return process;
  }

  #onEvent(event: NativeEvent): void {
    switch (event.kind) {
      case 'launched':
      case 'shell':
      case 'primed':
      case 'refused':
      case 'gone':
      case 'found':
        return this.#requests.get(event.request)?.take(event);
      case 'shellEnded':
        this.#shells.get(event.handle)?.onEnded();
        this.#shells.delete(event.handle);
        return;
      case 'booted':
        return this.#processes.get(event.handle)?.onBooted(event.atNs);
      case 'replied':
        return this.#processes.get(event.handle)?.onReply(event.request, event.status, event);
      case 'disconnected':
        return this.#processes.get(event.handle)?.onDisconnected(event.message);
      case 'exited':
        this.#processes.get(event.handle)?.onExited(event.evidence);
        return this.#clearUnwanted(event.handle);
    }
  }

  #clearUnwanted(handle: number): void {
    const directory = this.#unwanted.get(handle);
    if (directory === undefined) return;
    this.#unwanted.delete(handle);
    this.#engine.release(handle);
    for (const name of ['pages', 'control.sock', 'vsock.sock'])
      void rm(join(directory, name), { force: true }).catch(() => undefined);
  }

  #nextRequest(): number {
    this.#lastRequest = (this.#lastRequest % 0xffff_fffe) + 1;
    return this.#lastRequest;
  }

  #hold(): void {
    if (this.#held++ === 0) this.#engine.ref();
  }

  #letGo(): void {
    if (--this.#held === 0) this.#engine.unref();
  }
}
