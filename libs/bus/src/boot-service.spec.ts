import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connect, type NatsConnection } from 'nats';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';

const ROOT = join(__dirname, '../../..');

interface Line {
  level: number;
  msg?: string;
  step?: string;
  url?: string;
  err?: { message: string; stack: string };
  origin?: string;
}

/** A service in a process of its own, and its log. */
class ServiceProcess {
  readonly lines: Line[] = [];
  readonly exit: Promise<[code: number | null, signal: string | null]>;
  readonly child: ChildProcess;
  #waiters: { test: (line: Line) => boolean; resolve: (line: Line) => void }[] = [];

  constructor(args: string[]) {
    const run = ['--conditions=jest', '-r', './test/support/ts-register.cjs', 'test/support/sample-service.ts'];
    this.child = spawn(process.execPath, [...run, ...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = createInterface({ input: this.child.stdout! });
    this.exit = Promise.all([once(this.child, 'exit'), once(lines, 'close')]).then(([exit]) => exit as never);
    lines.on('line', (text) => {
      const line = JSON.parse(text) as Line;
      this.lines.push(line);
      this.#waiters = this.#waiters.filter(({ test, resolve }) => !test(line) || resolve(line));
    });
  }

  get steps(): string[] {
    return this.lines.flatMap(({ step }) => step ?? []);
  }

  line(test: (line: Line) => boolean): Promise<Line> {
    const found = this.lines.find(test);
    return found ? Promise.resolve(found) : new Promise((resolve) => this.#waiters.push({ test, resolve }));
  }

  ready(): Promise<Line> {
    return this.line(({ msg }) => msg === 'sample is ready');
  }
}

describeWithNats('bootService', () => {
  let server: NatsServer;
  let caller: NatsConnection;
  let service: ServiceProcess | undefined;

  beforeAll(async () => {
    server = await startNatsServer();
    caller = await connect({ servers: server.url });
  });
  afterEach(async () => {
    service?.child.kill('SIGKILL');
    await service?.exit;
  });
  afterAll(async () => {
    await caller.close();
    await server.stop();
  });

  function start(...args: string[]): ServiceProcess {
    return (service = new ServiceProcess(['--nats-url', server.url, ...args]));
  }
  async function call(kind: string): Promise<unknown> {
    return (await caller.request('sample.work', JSON.stringify({ kind }), { timeout: 30_000 })).json();
  }

  it('takes no message before recovery is done, and is ready when it says so', async () => {
    const { exit, child } = start();
    await service!.line(({ step }) => step === 'recovering');
    await expect(call('quick')).rejects.toThrow('no responders');
    await service!.ready();
    expect(await call('quick')).toEqual({ recovered: true });
    expect((await readFile(`/proc/${child.pid}/comm`, 'utf8')).trim()).toBe('volley-sample');
    child.kill('SIGTERM');
    expect(await exit).toEqual([0, null]);
  });

  it.each(['SIGTERM', 'SIGINT'] as const)(
    'on %s finishes what it does, then runs hooks, then leaves NATS',
    async (signal) => {
      const { child, exit } = start();
      await service!.ready();
      const bye = new Promise((resolve) => caller.subscribe('sample.bye', { max: 1, callback: resolve }));
      await caller.flush();
      const slow = call('slow');
      await service!.line(({ step }) => step === 'began slow');
      child.kill(signal);
      await service!.line(({ step }) => step === 'abort');
      expect(await slow).toEqual({ recovered: true });
      expect(await exit).toEqual([0, null]);
      await bye;
      expect(service!.steps).toEqual([
        'recovering',
        'recovered',
        'began slow',
        'abort',
        'ended slow',
        'destroy hook',
        'shutdown hook',
      ]);
    },
  );

  it('serves HTTP after recovery and finishes requests on SIGTERM', async () => {
    const { child, exit } = start('--http', 'true');
    const { url } = await service!.ready();
    const response = fetch(`${url}/slow`);
    await service!.line(({ step }) => step === 'began slow');
    const reply = call('slower');
    await service!.line(({ step }) => step === 'began slower');
    child.kill('SIGTERM');
    expect(await (await response).json()).toEqual({ recovered: true });
    expect(await reply).toEqual({ recovered: true });
    expect(await exit).toEqual([0, null]);
    expect(service!.steps.slice(-5)).toEqual(['abort', 'ended slow', 'ended slower', 'destroy hook', 'shutdown hook']);
    await expect(fetch(`${url}/slow`)).rejects.toThrow();
  });

  it('goes on when a connection cannot be accepted, and says so', async () => {
    start('--http', 'true');
    await service!.ready();
    expect(await call('refuseConnection')).toEqual({ recovered: true });
    await service!.line(({ msg, err }) => msg === 'a connection could not be accepted' && err?.message === 'ENFILE');
  });

  it('leaves a hanging handler behind after the drain time', async () => {
    const { child, exit } = start('--drain-ms', '200');
    await service!.ready();
    void call('hang').catch(() => undefined);
    await service!.line(({ step }) => step === 'began hang');
    child.kill('SIGTERM');
    expect(await exit).toEqual([0, null]);
    expect(service!.lines.map(({ msg }) => msg)).toContain('gave up waiting for handlers to finish');
  });

  it.each([
    ['throwLater', 'thrown later', 'uncaughtException'],
    ['rejectLater', 'rejected later', 'unhandledRejection'],
  ])('ends with code 1 and a fatal line after %s', async (kind, message, origin) => {
    const { exit } = start();
    await service!.ready();
    caller.publish('sample.work', JSON.stringify({ kind }));
    expect(await exit).toEqual([1, null]);
    // Not by its place: what the pipe did not take at once is written when the process ends.
    expect(service!.lines.filter(({ level }) => level === 60)).toMatchObject([{ origin, err: { message } }]);
  });

  it('ends with code 1 when recovery fails', async () => {
    const { exit } = start('--break-at', 'init');
    expect(await exit).toEqual([1, null]);
    expect(service!.lines.filter(({ level }) => level === 60)).toMatchObject([
      { msg: 'could not start: recovery failed' },
    ]);
  });

  it('ends when told to while it waits for NATS', async () => {
    const { exit, child } = (service = new ServiceProcess(['--nats-url', 'nats://127.0.0.1:1']));
    await service.line(({ msg }) => msg === 'connecting to NATS');
    child.kill('SIGTERM');
    expect(await exit).toEqual([0, null]);
  });
});
