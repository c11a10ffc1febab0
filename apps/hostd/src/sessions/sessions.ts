import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import type { z } from 'zod';
import { SessionChannel } from '#bus';
import { connectToGuest } from '#guest';
import { OperationError, SESSION_FRAME, type openSession, type SessionEnd, type SessionOpen } from '#protocol';
import type { Bridge, Pipe } from './bridge';
import { ConsoleBridge, type SerialConsole } from './console-bridge';
import { GetBridge, PutBridge } from './copy-bridges';
import { ExecBridge } from './exec-bridge';
import { failedEnd, sessionError } from './session-end';

export type SessionRequest = z.output<typeof openSession.request>;

/** What sessions need of a microVM that lives on this host. */
export interface SessionTarget {
  doing: 'starting' | 'running' | 'paused';
  /** The host side of its vsock device; undefined: it has none. */
  vsockPath: string | undefined;
  console: SerialConsole;
  /** Resolves when it has ended. */
  ended: Promise<unknown>;
}

export interface SessionLimits {
  perMicrovm: number;
  perHost: number;
  /** Reaching the guest's agent, in ms; less than the operation's deadline. */
  connectMs: number;
}

export const DEFAULT_SESSION_LIMITS: SessionLimits = { perMicrovm: 64, perHost: 1_024, connectMs: 4_000 };

interface OpenSession {
  microvmId: string;
  /** Ends it from our side. */
  end(error: OperationError): void;
}

/** The sessions of this host: opens, bounds, ends and writes them down. */
export class Sessions {
  readonly #open = new Map<string, OpenSession | 'opening'>();
  readonly #counts = new Map<string, number>();
  #ended = false;

  constructor(
    private readonly connection: NatsConnection,
    private readonly hostId: string,
    /** @throws OperationError `notFound` when it does not live here. */
    private readonly target: (microvmId: string) => SessionTarget,
    private readonly log: Logger,
    private readonly limits: SessionLimits = DEFAULT_SESSION_LIMITS,
  ) {}

  get count(): number {
    return this.#open.size;
  }

  /** Open or being opened in one microVM. */
  countIn(microvmId: string): number {
    return this.#counts.get(microvmId) ?? 0;
  }

  /** Resolves when the session runs. @throws OperationError why it does not; nothing is left of it then. */
  async open(request: SessionRequest): Promise<{ accepted: true }> {
    const { sessionId, microvmId } = request;
    if (this.#ended) throw goesAway();
    const target = this.target(microvmId);
    if (this.#open.has(sessionId)) throw new OperationError('conflict', `session ${sessionId} is open already`);
    this.#admit(microvmId);
    this.#open.set(sessionId, 'opening');
    try {
      await this.#start(request, target);
    } catch (error) {
      this.#release(sessionId, microvmId);
      throw sessionError(error);
    }
    return { accepted: true };
  }

  #admit(microvmId: string): void {
    const { perMicrovm, perHost } = this.limits;
    const count = this.#counts.get(microvmId) ?? 0;
    if (count >= perMicrovm) {
      throw new OperationError('refused', `${count} sessions are open in this microVM, as many as may be; close some`);
    }
    if (this.#open.size >= perHost) {
      throw new OperationError('refused', `${perHost} sessions are open on this host, as many as may be; close some`);
    }
    this.#counts.set(microvmId, count + 1);
  }

  #release(sessionId: string, microvmId: string): void {
    this.#open.delete(sessionId);
    const count = (this.#counts.get(microvmId) ?? 1) - 1;
    if (count > 0) this.#counts.set(microvmId, count);
    else this.#counts.delete(microvmId);
  }

  async #start({ sessionId, microvmId, open, by }: SessionRequest, target: SessionTarget): Promise<void> {
    const makeBridge = await this.#prepare(open, target);
    let bridge: Bridge | undefined;
    let finish!: (end: SessionEnd) => void;
    const finished = new Promise<SessionEnd>((resolve) => (finish = resolve));
    const channel = new SessionChannel({
      connection: this.connection,
      hostId: this.hostId,
      sessionId,
      side: 'guest',
      onMessage: (type, content) => {
        try {
          bridge?.onMessage(type, content);
        } catch (error) {
          finish(failedEnd(error));
        }
      },
      onEnd: (error) => finish(error ? failedEnd(error) : {}),
    });
    try {
      bridge = makeBridge(channel);
      void bridge.done.then(finish);
      await channel.ready();
      if (this.#ended) throw goesAway();
    } catch (error) {
      bridge?.stop();
      channel.end();
      throw error;
    }
    // A console shows the end itself: what was written last comes first.
    if (open.kind !== 'console') {
      void target.ended.then(() => finish(failedEnd(new OperationError('unavailable', 'the microVM has ended'))));
    }
    this.#open.set(sessionId, { microvmId, end: (error) => finish(failedEnd(error)) });
    const log = this.log.child({ sessionId, microvmId });
    log.info({ by, ...described(open) }, 'session opened');
    const startedMs = performance.now();
    void finished.then((end) => {
      bridge.stop();
      channel.send(SESSION_FRAME.exited, Buffer.from(JSON.stringify(end)));
      channel.end();
      this.#release(sessionId, microvmId);
      log.info({ by, end, ms: Math.round(performance.now() - startedMs) }, 'session ended');
    });
  }

  /** Reaches what the session is about, and gives what joins it to a channel. */
  async #prepare(open: SessionOpen, target: SessionTarget): Promise<(pipe: Pipe) => Bridge> {
    if (open.kind === 'console') {
      return (pipe) => new ConsoleBridge(target.console, open, pipe, target.ended);
    }
    if (target.doing === 'starting') throw new OperationError('unavailable', 'the microVM is still starting');
    if (target.doing === 'paused') {
      throw new OperationError('conflict', 'the microVM is paused, so nothing in it can answer; resume it first');
    }
    if (target.vsockPath === undefined) {
      throw new OperationError(
        'unsupported',
        'this microVM has no vsock device, over which its agent would be reached',
      );
    }
    const stream = await connectToGuest(target.vsockPath, undefined, this.limits.connectMs);
    return (pipe) => {
      try {
        if (open.kind === 'exec') return new ExecBridge(stream, open, pipe);
        return open.kind === 'put' ? new PutBridge(stream, open.path, pipe) : new GetBridge(stream, open.path, pipe);
      } catch (error) {
        stream.destroy();
        throw error;
      }
    };
  }

  /** Ends all sessions; none is opened any more. */
  endAll(): void {
    this.#ended = true;
    for (const session of this.#open.values()) {
      if (session !== 'opening') session.end(new OperationError('unavailable', 'the host agent is shutting down'));
    }
  }
}

function goesAway(): OperationError {
  return new OperationError('unavailable', 'this host agent is shutting down; ask again in a moment');
}

/** What the log says of it. Values of the environment may be secrets. */
function described(open: SessionOpen): object {
  if (open.kind !== 'exec') return open;
  const { kind, command, user, workdir, tty } = open;
  return { kind, command, user, workdir, tty: tty !== undefined, env: Object.keys(open.env) };
}
