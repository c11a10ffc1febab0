import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { request as secureRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connectNats } from '#bus';
import type { NatsConnection } from 'nats';
import { WebSocket } from 'ws';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import { ask, TOKEN } from './testing/gateway-under-test';
import { ScriptedController } from './testing/scripted-controller';
import { SseClient } from './testing/sse-client';

const RUN = ['--conditions=jest', '-r', './test/support/ts-register.cjs', 'apps/gateway/src/main.ts'];

describeWithNats('volley-gateway, the process', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let controller: ScriptedController;
  let folder: string;
  let tokenFile: string;
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    server = await startNatsServer();
    nc = await connectNats({ servers: server.url, name: 'scripted-controller' });
    controller = await ScriptedController.start(nc);
    folder = await mkdtemp(join(tmpdir(), 'volley-gateway-'));
    tokenFile = join(folder, 'operator.token');
    await writeFile(tokenFile, `${TOKEN}\n`, { mode: 0o600 });
  });
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    await nc?.close();
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const launch = (env: Record<string, string> = {}): ChildProcess => {
    const child = spawn(process.execPath, RUN, {
      env: {
        ...process.env,
        VOLLEY_NATS_URL: server.url,
        VOLLEY_TOKEN_FILE: tokenFile,
        VOLLEY_LISTEN: '127.0.0.1:0',
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.push(child);
    return child;
  };
  const ready = async (child: ChildProcess): Promise<string> => {
    for await (const line of createInterface({ input: child.stdout! })) {
      const entry = JSON.parse(line) as { msg?: string; url?: string };
      if (entry.msg === 'gateway is ready') {
        child.stdout!.resume();
        return entry.url!;
      }
    }
    throw new Error('the gateway ended before it was ready');
  };

  it('serves under its own name', async () => {
    const child = launch();
    const url = await ready(child);
    expect((await ask(`${url}/readyz`, { token: null })).status).toBe(200);
    expect((await readFile(`/proc/${child.pid}/cmdline`, 'utf8')).split('\0')[0]).toBe('volley-gateway');
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
  });

  it('on SIGTERM ends streams and waits politely, finishes what runs, and exits 0', async () => {
    const child = launch();
    const url = await ready(child);
    const events = await SseClient.open(`${url}/v1/events`, TOKEN);
    await events.until(({ text }) => text.includes('\n\n'));

    // One request waits for a state, one is in the hands of a slow controller, one connection is idle.
    controller.script.start = 'hangs';
    const waiting = ask(`${url}/v1/microvms?wait=running&timeout=60s`, { method: 'POST', body: { image: 'canary' } });
    await events.until(({ events: [first] }) => first !== undefined);
    let answer: (reply: object) => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      controller.instead.set('volley.v1.density.get', () => {
        resolve();
        return new Promise((reply) => (answer = reply));
      });
    });
    const slow = ask(`${url}/v1/density`);
    await asked;
    const agent = new Agent({ keepAlive: true });
    await new Promise((resolve) =>
      request(`${url}/healthz`, { agent }, (response) => response.resume().on('end', resolve)).end(),
    );

    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await events.ended;
    expect(events.text).toMatch(/: the gateway is shutting down\n\n$/);
    expect((await waiting).status).toBe(202);
    answer({ error: { code: 'notFound', message: 'finished after all' } });
    expect((await slow).json.detail).toBe('finished after all');
    expect(await exited).toEqual([0, null]);
    agent.destroy();
    controller.instead.clear();
    controller.script.start = 'done';
  });

  it.each([
    ['no token file', { VOLLEY_TOKEN_FILE: '/nowhere/operator.token' }, /cannot read the operator token/],
    ['half of a certificate', { VOLLEY_TLS_CERT_FILE: '/c' }, /only one is given/],
    ['a wrong address', { VOLLEY_LISTEN: 'everywhere' }, /VOLLEY_LISTEN: must be HOST:PORT/],
  ])('does not start with %s, and says so', async (_, env, message) => {
    const child = launch(env);
    let text = '';
    child.stderr!.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    expect(await once(child, 'close')).toEqual([2, null]);
    expect(text).toMatch(message);
    expect(text).not.toMatch(/\n\s+at /); // no stack for an operator
  });

  it('serves REST and WebSockets by TLS when it has a certificate, and not in the clear', async () => {
    const [cert, key] = [join(folder, 'rest.pem'), join(folder, 'rest.key')];
    const words = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=rest';
    execFileSync(
      'openssl',
      [...words.split(' '), '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert],
      {
        stdio: 'ignore',
      },
    );
    const child = launch({ VOLLEY_TLS_CERT_FILE: cert, VOLLEY_TLS_KEY_FILE: key });
    const url = await ready(child);
    expect(url).toMatch(/^https:/);
    const ca = await readFile(cert);
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const asked = secureRequest(`${url}/readyz`, { ca }, (response) => resolve(response.resume().statusCode));
      asked.once('error', reject).end();
    });
    expect(status).toBe(200);
    const socket = new WebSocket(`${url.replace('https', 'wss')}/v1/microvms/none/console`, ['volley.v1'], { ca });
    const refused = await new Promise<number | undefined>((resolve, reject) => {
      socket.once('unexpected-response', (_, response) => resolve(response.statusCode));
      socket.once('error', reject);
    });
    socket.on('error', () => undefined).terminate();
    expect(refused).toBe(401);
    await expect(ask(`${url.replace('https', 'http')}/readyz`, { token: null })).rejects.toThrow();
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);

    await chmod(key, 0o640);
    const loose = launch({ VOLLEY_TLS_CERT_FILE: cert, VOLLEY_TLS_KEY_FILE: key });
    let text = '';
    loose.stderr!.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    expect(await once(loose, 'close')).toEqual([2, null]);
    expect(text).toContain(`chmod 600 ${key}`);
  });

  it('does not start with a token that others can read', async () => {
    const loose = join(folder, 'loose.token');
    await writeFile(loose, TOKEN);
    await chmod(loose, 0o644);
    const child = launch({ VOLLEY_TOKEN_FILE: loose });
    let text = '';
    child.stderr!.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    expect(await once(child, 'close')).toEqual([2, null]);
    expect(text).toContain(`chmod 600 ${loose}`);
  });
});
