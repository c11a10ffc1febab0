import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { whatIf, WhatIfQuestion } from '#protocol';
import type { WhatIfReply, WhatIfRequest } from '../testing/what-if-service';

const ROOT = join(__dirname, '../../../..');
const QUESTION = WhatIfQuestion.parse({ from: 0, to: 1_000, alternatives: [{}] });
/** Of which three seconds are left for the way back of the answer. */
const SHORT_MS = 4_000;

/** Processes that another one has started and that still run. */
function childrenOf({ pid }: ChildProcess): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const [state, parent] = readFileSync(`/proc/${name}/stat`, 'latin1')
          .replace(/^.*\) /s, '')
          .split(' ');
        return state !== 'Z' && parent === String(pid);
      } catch {
        return false; // gone meanwhile
      }
    });
}

describe('what-ifs whose histories cannot be read in time', () => {
  /** NATS, but it takes connections and never says a word. */
  let silent: Server;
  let connected: Promise<unknown>;
  const connections = new Set<Socket>();
  let service: ChildProcess;
  let asked = 0;

  beforeEach(async () => {
    silent = createServer((socket) => void connections.add(socket.on('error', () => undefined)));
    connected = once(silent, 'connection');
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    service = fork(join(ROOT, 'apps/placement/src/testing/what-if-service.ts'), {
      cwd: ROOT,
      execArgv: ['--conditions=jest', '-r', './test/support/ts-register.cjs'],
      env: { PATH: process.env['PATH'], VOLLEY_NATS_URL: `nats://127.0.0.1:${port}` },
    });
  });
  afterEach(async () => {
    const gone = once(service, 'exit');
    service.disconnect();
    await gone;
    for (const socket of connections) socket.destroy();
    silent.close();
  });

  const tell = (request: WhatIfRequest): void => void service.send(request as object);
  const ask = (question = QUESTION, deadlineMs: number = whatIf.deadlineMs): Promise<WhatIfReply> => {
    const id = ++asked;
    return new Promise((resolve) => {
      const hear = (reply: WhatIfReply): void => {
        if (reply.id !== id) return;
        service.off('message', hear);
        resolve(reply);
      };
      service.on('message', hear);
      tell({ id, question, deadlineMs });
    });
  };
  const nothingRuns = async (): Promise<void> => {
    while (childrenOf(service).length > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  };

  it('are answered with that at their deadline, and leave no process behind', async () => {
    expect(await ask(QUESTION, SHORT_MS)).toMatchObject({
      error: 'timeout',
      message: expect.stringMatching(/took too long/) as string,
    });
    await nothingRuns();
  }, 60_000);

  it('that wait for their turn beyond their deadline are not begun', async () => {
    const both = await Promise.all([ask(QUESTION, SHORT_MS), ask(QUESTION, SHORT_MS)]);
    expect(both).toMatchObject([{ error: 'timeout' }, { error: 'timeout' }]);
    await nothingRuns();
  }, 60_000);

  it('are too many when two wait already; who is cut off by a shutdown is told so', async () => {
    const waiting = [ask(), ask(), ask()];
    expect(await ask()).toMatchObject({ error: 'overloaded' });
    await connected;
    tell('stop');
    expect(await Promise.all(waiting)).toMatchObject(waiting.map(() => ({ error: 'unavailable' })));
    await nothingRuns();
  }, 60_000);

  it('make no sense when they end before they begin', async () => {
    expect(await ask({ ...QUESTION, from: 5, to: 5 })).toMatchObject({ error: 'invalid' });
  }, 60_000);
});
