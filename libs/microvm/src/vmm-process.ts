import { getSystemErrorName } from 'node:util';
import { concludeExit, type Witness } from './conclude-exit';
import { decodeSerial } from './decode-serial';
import { SnapshotError, VmmControlError, VmmExitedError, VmmPageError } from './errors';
import type { ExitReport } from './exit-report';
import { limiterNumbers } from './limiter';
import type { KvmProbe, Limiter, MicrovmProcess, SerialRead, VmmIdentity } from './microvm-driver';
import type { MicrovmStats } from './microvm-stats';
import type { ExitEvidence, NativeEngine } from './native-binding';
import type { SnapshotOptions, SnapshotReport } from './snapshot';
import { writeSnapshot } from './snapshot-writer';
import type { StatsReader } from './stats-reader';

/** `volley_message_type` of native/abi. */
const COMMANDS = {
  pause: 1,
  resume: 2,
  'press the power button of': 3,
  'press Ctrl-Alt-Del in': 6,
  'type into': 7,
  'set a limit of': 8,
  'set the balloon of': 9,
  snapshot: 11,
} as const;
const CONSOLE = 0xffff_ffff;
const TYPED_AT_MOST = 96;

export const DEFAULT_COMMAND_DEADLINE_MS = 5_000;
export const DEFAULT_SNAPSHOT_DEADLINE_MS = 60_000;
const SERIAL_RING_BYTES = 64 * 1024;

/** Parts of the driver that its processes share. */
export interface DriverContext {
  readonly engine: NativeEngine;
  readonly stats: StatsReader;
  nextRequest(): number;
  /** Keeps Node alive while an answer is due. */
  hold(): void;
  letGo(): void;
  forget(handle: number): void;
  isClosed(): boolean;
  kvmKind(): KvmProbe['kind'];
}

interface Reply {
  /** The number that it carries. */
  count: number;
  payload: Buffer;
}

interface Pending {
  settle(outcome: Reply | VmmControlError): void;
  /** A refusal says why in words. */
  takesText: boolean;
}

/** Keeps Node alive from the first `begin` to `end`. */
class Hold {
  #state: 'idle' | 'held' | 'over' = 'idle';

  constructor(private readonly context: DriverContext) {}

  begin(): void {
    if (this.#state !== 'idle') return;
    this.#state = 'held';
    this.context.hold();
  }

  end(): void {
    if (this.#state === 'held') this.context.letGo();
    this.#state = 'over';
  }
}

function deferred<T>() {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

const errorName = (errno: number) => (errno > 0 ? getSystemErrorName(-errno) : `status ${errno}`);

export class VmmProcess implements MicrovmProcess {
  readonly #booted = deferred<bigint>();
  readonly #exited = deferred<ExitReport>();
  readonly #awaitBoot: Hold;
  readonly #awaitExit: Hold;
  readonly #pending = new Map<number, Pending>();
  #end: ExitReport | undefined;
  #released = false;

  constructor(
    private readonly context: DriverContext,
    private readonly handle: number,
    readonly id: string,
    readonly identity: VmmIdentity,
    private readonly witness: Witness,
    bootedNs: bigint,
  ) {
    this.#awaitBoot = new Hold(context);
    this.#awaitExit = new Hold(context);
    // Nobody is obliged to look: an unheeded early end must not count as an unhandled rejection.
    this.#booted.promise.catch(() => undefined);
    if (bootedNs !== 0n) this.onBooted(bootedNs);
  }

  // Whoever asks for a promise means to wait for it, so asking keeps Node alive until it settles, or until release or
  // close; a process that merely launched VMMs may end.
  get booted(): Promise<bigint> {
    this.#awaitBoot.begin();
    return this.#booted.promise;
  }

  get exited(): Promise<ExitReport> {
    this.#awaitExit.begin();
    return this.#exited.promise;
  }

  async pause(deadlineMs?: number): Promise<void> {
    await this.#command('pause', deadlineMs);
  }

  async resume(deadlineMs?: number): Promise<void> {
    await this.#command('resume', deadlineMs);
  }

  async pressPowerButton(deadlineMs?: number): Promise<void> {
    await this.#command('press the power button of', deadlineMs);
  }

  async pressCtrlAltDel(deadlineMs?: number): Promise<void> {
    await this.#command('press Ctrl-Alt-Del in', deadlineMs);
  }

  async type(bytes: Uint8Array, deadlineMs?: number): Promise<number> {
    const part = bytes.subarray(0, TYPED_AT_MOST);
    const taken = await this.#command('type into', deadlineMs, part.length, part);
    return Math.min(taken, part.length);
  }

  async setLimit(device: number | 'console', which: number, limiter: Limiter, deadlineMs?: number): Promise<void> {
    const index = device === 'console' ? CONSOLE : device;
    const payload = Buffer.alloc(8 + 6 * 8);
    let numbers: number[];
    try {
      numbers = limiterNumbers(limiter, 'limiter');
      payload.writeUInt32LE(index, 0);
      payload.writeUInt32LE(which, 4);
    } catch (error) {
      throw new VmmControlError(`cannot set a limit of microVM ${this.id}: ${(error as Error).message}`);
    }
    numbers.forEach((number, at) => payload.writeBigUInt64LE(BigInt(number), 8 + at * 8));
    await this.#command('set a limit of', deadlineMs, 0, payload);
  }

  async setBalloon(bytes: number, deadlineMs?: number): Promise<void> {
    if (!Number.isSafeInteger(bytes) || bytes < 0) {
      throw new VmmControlError(`cannot set the balloon of microVM ${this.id}: ${bytes} is not a number of bytes`);
    }
    const payload = Buffer.alloc(8);
    payload.writeBigUInt64LE(BigInt(bytes));
    await this.#command('set the balloon of', deadlineMs, 0, payload);
  }

  async snapshot(
    directory: string,
    options: SnapshotOptions = {},
    deadlineMs: number = DEFAULT_SNAPSHOT_DEADLINE_MS,
  ): Promise<SnapshotReport> {
    const kind = this.context.kvmKind();
    if (kind === undefined) throw new VmmControlError(`cannot snapshot microVM ${this.id}: this host has no KVM`);
    if (kind === 'stand-in') throw new VmmControlError(`cannot snapshot microVM ${this.id}: no guest runs in it`);
    try {
      return await writeSnapshot(directory, options, kind, {
        order: async (payload, descriptors) =>
          (await this.#exchange('snapshot', deadlineMs, 0, payload, descriptors)).payload,
        isPaused: () => this.stats().state === 'paused',
        pause: () => this.pause(),
        resume: () => this.resume(),
      });
    } catch (error) {
      if (error instanceof VmmControlError || error instanceof SnapshotError) throw error;
      throw new VmmControlError(`cannot snapshot microVM ${this.id}: ${(error as Error).message}`);
    }
  }

  kill(): void {
    if (this.#end !== undefined || this.context.isClosed()) return;
    const errno = this.context.engine.kill(this.handle);
    if (errno !== 0) throw new VmmControlError(`cannot kill process ${this.identity.pid}: ${errorName(errno)}`);
  }

  stats(): MicrovmStats {
    return this.#fromPage(() => this.context.stats.read(this.handle, this.identity.pid));
  }

  serial(maxBytes: number = SERIAL_RING_BYTES, since?: number): SerialRead {
    const chunk = this.#fromPage(() => this.context.engine.readSerial(this.handle, maxBytes, since));
    return decodeSerial(chunk, since);
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#stopWaiting('it was released');
    this.context.forget(this.handle);
    this.context.engine.release(this.handle);
  }

  /** @internal events of the binding, in the order in which they happened */
  onBooted(atNs: bigint): void {
    this.#awaitBoot.end();
    this.#booted.resolve(atNs);
  }

  /** @internal */
  onReply(request: number, status: number, reply: Reply): void {
    const pending = this.#pending.get(request);
    if (status === 0) return pending?.settle(reply);
    const why = pending?.takesText ? reply.payload.toString('latin1').replace(/\0.*$/s, '') : '';
    const code = errorName(status);
    pending?.settle(new VmmControlError(`the VMM refused: ${why === '' ? code : why}`, code));
  }

  /** @internal */
  onDisconnected(message: string): void {
    this.#failPending(message);
  }

  /** @internal */
  onExited(evidence: ExitEvidence): void {
    const report = concludeExit(evidence, this.witness);
    this.#end = report;
    this.#stopWaiting(`it ended: ${report.message}`);
    this.#booted.reject(new VmmExitedError(report));
    this.#exited.resolve(report);
  }

  /** @internal the driver was closed; the process goes on without us */
  onClosed(): void {
    this.#stopWaiting('the driver was closed');
  }

  /** Resolves with the number that the reply carries. */
  async #command(
    name: keyof typeof COMMANDS,
    deadlineMs = DEFAULT_COMMAND_DEADLINE_MS,
    argument = 0,
    payload?: Uint8Array,
  ): Promise<number> {
    return (await this.#exchange(name, deadlineMs, argument, payload)).count;
  }

  #exchange(
    name: keyof typeof COMMANDS,
    deadlineMs: number,
    argument: number,
    payload?: Uint8Array,
    descriptors?: number[],
  ): Promise<Reply> {
    const fail = (why: string) =>
      Promise.reject<Reply>(new VmmControlError(`cannot ${name} microVM ${this.id}: ${why}`));
    if (this.#end !== undefined) return fail(`it ended: ${this.#end.message}`);
    if (this.#released) return fail('it was released');
    if (this.context.isClosed()) return fail('the driver was closed');
    const request = this.context.nextRequest();
    const errno = this.context.engine.send(this.handle, COMMANDS[name], request, argument, payload, descriptors);
    if (errno !== 0) {
      const name = errorName(errno);
      return fail(name === 'ENOTCONN' ? 'there is no control connection to its VMM' : `sending failed: ${name}`);
    }

    this.context.hold();
    return new Promise<Reply>((resolve, reject) => {
      const settle = (outcome: Reply | VmmControlError) => {
        if (!this.#pending.delete(request)) return;
        clearTimeout(timer);
        this.context.letGo();
        if (!(outcome instanceof VmmControlError)) resolve(outcome);
        else reject(new VmmControlError(`cannot ${name} microVM ${this.id}: ${outcome.message}`, outcome.code));
      };
      const timer = setTimeout(() => {
        this.context.engine.abandon(this.handle, request);
        settle(new VmmControlError(`the VMM did not answer within ${deadlineMs} ms`));
      }, deadlineMs);
      this.#pending.set(request, { settle, takesText: name === 'snapshot' });
    });
  }

  #stopWaiting(why: string): void {
    this.#failPending(why);
    this.#awaitBoot.end();
    this.#awaitExit.end();
  }

  #failPending(why: string): void {
    for (const pending of [...this.#pending.values()]) pending.settle(new VmmControlError(why));
  }

  #fromPage<T>(read: () => T): T {
    if (this.#released) throw new VmmPageError(`microVM ${this.id} was released`);
    try {
      return read();
    } catch (error) {
      throw new VmmPageError(`microVM ${this.id}: ${(error as Error).message}`);
    }
  }
}
