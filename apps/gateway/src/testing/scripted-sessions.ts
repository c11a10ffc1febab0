import type { NatsConnection, Subscription } from 'nats';
import { pack } from 'tar-stream';
import { SessionChannel } from '#bus';
import { OperationError, openSession, SESSION_FRAME, subjectFor, type SessionEnd, type SessionOpen } from '#protocol';
import type { z } from 'zod';
import { HOST_ID } from './scripted-controller';

type Request = z.output<typeof openSession.request>;

/**
 * The sessions of a host, for tests of the gateway. Commands: `echo WORDS`, `cat` (ends with its input), `flood BYTES`, `exit CODE`,
 * `missing`, `watch` (says what it is sent, until signal 15), `sleep`.
 */
export class ScriptedSessions {
  readonly requests: Request[] = [];
  readonly open = new Set<SessionChannel>();
  /** Bytes of standard input or of an archive that came. */
  received = 0;
  /** Takes input only when it is true. */
  takes = true;
  refusal: OperationError | undefined;
  /** What has to come before anything is opened. */
  opening: Promise<void> = Promise.resolve();
  readonly #subscription: Subscription;

  /** Resolves when NATS knows of it. */
  static async start(nc: NatsConnection): Promise<ScriptedSessions> {
    const sessions = new ScriptedSessions(nc);
    await nc.flush();
    return sessions;
  }

  private constructor(private readonly nc: NatsConnection) {
    this.#subscription = nc.subscribe(subjectFor(openSession.subject, { hostId: HOST_ID }), {
      callback: (_error, message) => {
        const request = openSession.request.parse(message.json());
        this.requests.push(request);
        if (this.refusal) return void message.respond(JSON.stringify({ error: this.refusal.toBody() }));
        const run = this.#begin(request);
        void this.opening.then(() => {
          message.respond(JSON.stringify({ accepted: true }));
          run();
        });
      },
    });
  }

  /** Resolves when NATS knows: from then on nobody is there, rather than somebody who is silent. */
  async stop(): Promise<void> {
    this.#subscription.unsubscribe();
    for (const channel of this.open) channel.end();
    if (!this.nc.isClosed()) await this.nc.flush();
  }

  #begin({ sessionId, open }: Request): () => void {
    let onMessage: (type: number, content: Uint8Array) => void = () => undefined;
    const channel = new SessionChannel({
      connection: this.nc,
      hostId: HOST_ID,
      sessionId,
      side: 'guest',
      onMessage: (type, content) => onMessage(type, content),
      onEnd: () => this.open.delete(channel),
    });
    this.open.add(channel);
    const exit = (end: SessionEnd): void => {
      channel.send(SESSION_FRAME.exited, Buffer.from(JSON.stringify(end)));
      channel.end();
      this.open.delete(channel);
    };
    const say = (text: string): void =>
      void channel.write(SESSION_FRAME.stdout, Buffer.from(text)).catch(() => undefined);
    onMessage = (type, content) => {
      if (type !== SESSION_FRAME.stdin) return say(`${type}:${Buffer.from(content).toString('hex')};`);
      this.received += content.length;
      if (this.takes) channel.took(content.length);
      if (open.kind === 'exec' && open.command[0] === 'cat') {
        if (content.length === 0) return exit({ code: 0 });
        void channel.write(SESSION_FRAME.stdout, content);
      }
      if (open.kind === 'console') say(Buffer.from(content).toString().toUpperCase());
      if (open.kind === 'put' && content.length === 0) exit({ code: 0 });
      return undefined;
    };
    return () => this.#run(open, channel, say, exit);
  }

  #run(open: SessionOpen, channel: SessionChannel, say: (text: string) => void, exit: (end: SessionEnd) => void): void {
    if (open.kind === 'console') return say(`booted, ${open.historyBytes} kept\n`);
    if (open.kind === 'put') {
      if (open.path === '/full') exit({ error: { code: 'refused', message: '/full: No space left on device' } });
      return;
    }
    if (open.kind === 'get') return void this.#archive(open.path, channel, exit);
    const [name, ...words] = open.command;
    if (name === 'missing') return exit({ error: { code: 'notFound', message: 'missing: there is no such program' } });
    channel.send(SESSION_FRAME.started);
    if (name === 'echo') {
      say(`${words.join(' ')}\n`);
      void channel.write(SESSION_FRAME.stderr, Buffer.from('to stderr\n')).then(() => exit({ code: 0 }));
    }
    if (name === 'exit') exit({ code: Number(words[0]) });
    if (name === 'flood') {
      void channel
        .write(SESSION_FRAME.stdout, Buffer.alloc(Number(words[0]), 'x'))
        .then(() => exit({ code: 0 }))
        .catch(() => undefined);
    }
  }

  async #archive(path: string, channel: SessionChannel, exit: (end: SessionEnd) => void): Promise<void> {
    if (path === '/missing')
      return exit({ error: { code: 'notFound', message: '/missing: No such file or directory' } });
    channel.send(SESSION_FRAME.started);
    const archive = pack();
    archive.entry({ name: 'hello' }, 'hello from the guest\n');
    archive.entry({ name: 'big' }, Buffer.alloc(path === '/broken' ? 1_000_000 : 100_000));
    archive.finalize();
    try {
      for await (const chunk of archive) await channel.write(SESSION_FRAME.stdout, chunk as Buffer);
    } catch {
      return; // nobody wants it
    }
    exit(path === '/broken' ? { error: { code: 'unavailable', message: 'the microVM has ended' } } : { code: 0 });
  }
}
