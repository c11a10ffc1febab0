import { randomUUID } from 'node:crypto';
import { writeFileSync, readFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import type { NatsConnection } from 'nats';
import { pino } from 'pino';
import { pack } from 'tar-stream';
import { connectNats, SessionChannel } from '#bus';
import {
  encodeSize,
  OperationError,
  SESSION_FRAME,
  SESSION_WINDOW,
  SessionEnd,
  SessionOpen,
  sessionToGuest,
  encodeSessionMessage,
  type MicrovmId,
} from '#protocol';
import type { z } from 'zod';
import { hasInit, startGuestAgent, type GuestAgentProcess } from '../../../../test/support/guest-agent';
import { natsServerMissing, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { Sessions, type SessionLimits, type SessionTarget } from './sessions';

const missing = natsServerMissing() ?? (hasInit ? undefined : 'init is not built (npm run build:native)');
if (missing) process.stderr.write(`SKIPPED: sessions of a host: ${missing}\n`);

const HOST = 'h1';
const VM: z.infer<typeof MicrovmId> = '0'.repeat(25) + '1';

/** The client's side, as the gateway has it. */
class Client {
  readonly channel: SessionChannel;
  readonly id = randomUUID();
  stdout = '';
  stderr = '';
  started = 0;
  received = 0;
  /** Bytes taken as they come, unless it is false. */
  reads = true;
  readonly end: Promise<SessionEnd>;
  #wake: (() => void)[] = [];

  constructor(nc: NatsConnection) {
    let finish!: (end: SessionEnd) => void;
    this.end = new Promise((resolve) => (finish = resolve));
    this.channel = new SessionChannel({
      connection: nc,
      hostId: HOST,
      sessionId: this.id,
      side: 'client',
      onMessage: (type, content) => {
        const text = Buffer.from(content).toString();
        if (type === SESSION_FRAME.started) this.started++;
        if (type === SESSION_FRAME.stdout) this.stdout += text;
        if (type === SESSION_FRAME.stderr) this.stderr += text;
        if (type === SESSION_FRAME.exited) {
          this.channel.end();
          return finish(SessionEnd.parse(JSON.parse(text)));
        }
        if (type === SESSION_FRAME.stdout || type === SESSION_FRAME.stderr) {
          this.received += content.length;
          if (this.reads) this.channel.took(content.length);
        }
        for (const wake of this.#wake.splice(0)) wake();
      },
      onEnd: (error) => finish(error ? { error: error.toBody() } : {}),
    });
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }
}

(missing ? describe.skip : describe)('sessions of a host', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let agent: GuestAgentProcess;
  let sessions: Sessions;
  let target: SessionTarget;
  let endMicrovm: () => void;
  let log: Record<string, unknown>[];

  beforeAll(async () => {
    server = await startNatsServer({ jetstream: false });
    nc = await connectNats({ servers: server.url, name: 'sessions' });
    agent = await startGuestAgent();
  });
  afterAll(async () => {
    await agent?.stop();
    await nc?.close();
    await server?.stop();
  });
  beforeEach(() => begin());
  afterEach(async () => {
    sessions.endAll();
    await agent.idle();
    expect(sessions.count).toBe(0);
  });

  function begin(limits?: Partial<SessionLimits>): void {
    log = [];
    const sink = new Writable({
      write: (line: Buffer, _, done) => {
        log.push(JSON.parse(line.toString()) as Record<string, unknown>);
        done();
      },
    });
    target = {
      doing: 'running',
      vsockPath: agent.vsockPath,
      console: serialConsole(),
      ended: new Promise((resolve) => (endMicrovm = () => resolve(undefined))),
    };
    sessions = new Sessions(
      nc,
      HOST,
      (id) => {
        if (id !== VM) throw new OperationError('notFound', 'not here');
        return target;
      },
      pino(sink),
      { perMicrovm: 4, perHost: 6, connectMs: 1_000, ...limits },
    );
  }

  async function open(what: z.input<typeof SessionOpen>): Promise<Client> {
    const client = new Client(nc);
    try {
      await sessions.open({ sessionId: client.id, microvmId: VM, open: SessionOpen.parse(what), by: 'somebody' });
    } catch (error) {
      client.channel.end();
      throw error;
    }
    return client;
  }
  const sh = (script: string, more: object = {}) => open({ kind: 'exec', command: ['sh', '-c', script], ...more });

  /** A console that types back what it gets, in capitals, and takes ten bytes at a time. */
  function serialConsole() {
    let text = 'booted\n';
    return {
      read: (maxBytes: number, since?: number) => {
        const from = Math.max(since ?? text.length - maxBytes, 0);
        return Promise.resolve({
          text: text.slice(from, from + maxBytes),
          from,
          to: Math.min(from + maxBytes, text.length),
        });
      },
      type: (bytes: Uint8Array) => {
        const taken = bytes.subarray(0, 10);
        text += Buffer.from(taken).toString().toUpperCase();
        return Promise.resolve(taken.length);
      },
      say: (more: string) => (text += more),
    };
  }

  describe('run commands', () => {
    it('with output, exit code, environment and signals', async () => {
      const client = await sh('echo out; echo err >&2; exit $CODE', { env: { CODE: '9' } });
      expect(await client.end).toEqual({ code: 9 });
      expect([client.started, client.stdout, client.stderr]).toEqual([1, 'out\n', 'err\n']);
      const sleeper = await open({ kind: 'exec', command: ['sleep', '100'] });
      await sleeper.until(() => sleeper.started === 1);
      sleeper.channel.send(SESSION_FRAME.signal, Uint8Array.of(15));
      expect(await sleeper.end).toEqual({ signal: 15 });
    });

    it('with input to its end, and as much as flows', async () => {
      const client = await open({ kind: 'exec', command: ['wc', '-c'], stdin: true });
      await client.channel.write(SESSION_FRAME.stdin, Buffer.alloc(5_000_000));
      client.channel.send(SESSION_FRAME.stdin);
      expect(await client.end).toEqual({ code: 0 });
      expect(client.stdout.trim()).toBe('5000000');
    });

    it('with a terminal', async () => {
      const client = await open({
        kind: 'exec',
        command: ['sh', '-c', 'read line; stty size'],
        stdin: true,
        tty: { rows: 10, columns: 20 },
      });
      client.channel.send(SESSION_FRAME.resize, encodeSize(30, 40));
      await client.channel.write(SESSION_FRAME.stdin, Buffer.from('x\r'));
      expect(await client.end).toEqual({ code: 0 });
      expect(client.stdout).toBe('x\r\n30 40\r\n');
    });

    it('that cannot be started, and say why', async () => {
      expect(await (await open({ kind: 'exec', command: ['no-such'] })).end).toMatchObject({
        error: { code: 'notFound' },
      });
      expect(await (await open({ kind: 'exec', command: ['/etc'] })).end).toMatchObject({ error: { code: 'refused' } });
    });

    it('that wait while nobody reads what they say', async () => {
      const client = await open({ kind: 'exec', command: ['head', '-c', '20000000', '/dev/zero'] });
      client.reads = false;
      await client.until(() => client.received === SESSION_WINDOW);
      await nc.flush();
      expect(client.received).toBe(SESSION_WINDOW);
      client.reads = true;
      client.channel.took(SESSION_WINDOW);
      expect(await client.end).toEqual({ code: 0 });
      expect(client.received).toBe(20_000_000);
    });

    it('which end when the client goes, and when messages are lost', async () => {
      const mark = (name: string): string => join(agent.folder, name);
      const script = (name: string): string =>
        `trap "echo > ${mark(name)}; exit" HUP; echo on; while :; do sleep 0.05; done`;
      const closing = await sh(script('closed'));
      await closing.until(() => closing.stdout !== '');
      closing.channel.send(SESSION_FRAME.close);
      const losing = await sh(script('lost'));
      await losing.until(() => losing.stdout !== '');
      nc.publish(sessionToGuest(HOST, losing.id), encodeSessionMessage(SESSION_FRAME.stdin, 77));
      await losing.end;
      await agent.idle();
      expect([existsSync(mark('closed')), existsSync(mark('lost'))]).toEqual([true, true]);
    });

    it('and write down who ran what, but no values of the environment', async () => {
      await (
        await sh('true', { env: { SECRET: 'hunter2' } })
      ).end;
      await agent.idle();
      expect(log).toEqual([
        expect.objectContaining({
          msg: 'session opened',
          by: 'somebody',
          microvmId: VM,
          command: ['sh', '-c', 'true'],
        }),
        expect.objectContaining({ msg: 'session ended', end: { code: 0 } }),
      ]);
      expect(JSON.stringify(log)).not.toContain('hunter2');
    });
  });

  describe('copy', () => {
    it('in and out', async () => {
      const archive = pack();
      archive.entry({ name: 'a/file' }, 'content');
      archive.entry({ name: 'a/big' }, Buffer.alloc(1_500_000, 'x'));
      archive.finalize();
      const put = await open({ kind: 'put', path: `${agent.folder}/in/` });
      for await (const chunk of Readable.from(archive)) await put.channel.write(SESSION_FRAME.stdin, chunk as Buffer);
      put.channel.send(SESSION_FRAME.stdin);
      expect(await put.end).toEqual({ code: 0 });
      expect(readFileSync(join(agent.folder, 'in/a/file'), 'utf8')).toBe('content');
      const get = await open({ kind: 'get', path: `${agent.folder}/in/a` });
      expect(await get.end).toEqual({ code: 0 });
      expect(get.received).toBeGreaterThan(1_500_000);
      expect(get.stdout).toContain('a/file');
    });

    it('not what is not there, and say so', async () => {
      const get = await open({ kind: 'get', path: '/not/there' });
      expect(await get.end).toMatchObject({
        error: { code: 'notFound', message: expect.stringContaining('/not/there') },
      });
      writeFileSync(join(agent.folder, 'plain'), '');
      const put = await open({ kind: 'put', path: `${agent.folder}/plain/x` });
      put.channel.send(SESSION_FRAME.stdin);
      expect(await put.end).toMatchObject({ error: { code: 'refused' } });
    });
  });

  describe('show the console', () => {
    it('from its history on, and type', async () => {
      const client = await open({ kind: 'console' });
      await client.until(() => client.stdout === 'booted\n');
      await client.channel.write(SESSION_FRAME.stdin, Buffer.from('a line of more than ten bytes'));
      await client.until(() => client.stdout === 'booted\nA LINE OF MORE THAN TEN BYTES');
      client.channel.send(SESSION_FRAME.close);
      await client.channel.ready();
    });

    it('to the very end of the microVM', async () => {
      const client = await open({ kind: 'console', historyBytes: 0 });
      (target.console as ReturnType<typeof serialConsole>).say('last words\n');
      endMicrovm();
      expect(await client.end).toEqual({});
      expect(client.stdout).toBe('last words\n');
    });
  });

  describe('are refused', () => {
    it('where there is no such microVM, or it cannot answer', async () => {
      const request = {
        sessionId: randomUUID(),
        microvmId: '1'.repeat(26),
        open: SessionOpen.parse({ kind: 'console' }),
      };
      await expect(sessions.open(request)).rejects.toMatchObject({ code: 'notFound' });
      target.doing = 'paused';
      await expect(sh('true')).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining('resume') });
      target.doing = 'starting';
      await expect(sh('true')).rejects.toMatchObject({ code: 'unavailable' });
      target.doing = 'running';
      target.vsockPath = undefined;
      await expect(sh('true')).rejects.toMatchObject({ code: 'unsupported' });
      target.vsockPath = '/not/there';
      await expect(sh('true')).rejects.toMatchObject({ code: 'unavailable' });
    });

    it('beyond the bound of one microVM', async () => {
      const clients = await Promise.all(Array.from({ length: 4 }, () => open({ kind: 'console' })));
      await expect(open({ kind: 'console' })).rejects.toMatchObject({ code: 'refused' });
      clients[0]!.channel.send(SESSION_FRAME.close);
      while (sessions.count === 4) await nc.flush();
      await open({ kind: 'console' });
    });

    it('beyond the bound of the host', async () => {
      begin({ perHost: 2 });
      await open({ kind: 'console' });
      await open({ kind: 'console' });
      await expect(open({ kind: 'console' })).rejects.toMatchObject({
        code: 'refused',
        message: expect.stringContaining('host'),
      });
    });

    it('under a name that is taken', async () => {
      const { id } = await open({ kind: 'console' });
      const again = { sessionId: id, microvmId: VM, open: SessionOpen.parse({ kind: 'console' }) };
      await expect(sessions.open(again)).rejects.toMatchObject({ code: 'conflict' });
    });
  });

  it('end with the microVM, and with the host agent', async () => {
    const one = await open({ kind: 'exec', command: ['sleep', '100'] });
    endMicrovm();
    expect(await one.end).toMatchObject({ error: { code: 'unavailable', message: 'the microVM has ended' } });
    begin();
    const two = await open({ kind: 'exec', command: ['sleep', '100'] });
    sessions.endAll();
    expect(await two.end).toMatchObject({
      error: { code: 'unavailable', message: expect.stringContaining('shutting down') },
    });
    await expect(sh('true')).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('are not opened any more when the agent goes while one is on its way', async () => {
    const opening = open({ kind: 'exec', command: ['sleep', '100'] });
    sessions.endAll();
    await expect(opening).rejects.toMatchObject({ code: 'unavailable' });
    expect(sessions.count).toBe(0);
  });
});
