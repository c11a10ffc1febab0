// What the gateway adds to a create: `node --conditions=jest -r ./test/support/ts-register.cjs apps/gateway/src/testing/create-bench.ts
// [count] [concurrency]`. A real nats-server, the gateway in its own process, a scripted controller in this one.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { BusClient, connectNats } from '#bus';
import { createMicrovm } from '#protocol';
import pino from 'pino';
import { startNatsServer } from '../../../../test/support/nats-server';
import { TOKEN } from './gateway-under-test';
import { ScriptedController } from './scripted-controller';

const [count = 2_000, concurrency = 1] = process.argv.slice(2).map(Number);
const TICK_MS = 10;
const SPEC = { image: 'canary', memoryMiB: 32 };

/** CPU of a process so far, in ms. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

function quantile(sorted: number[], q: number): string {
  return `${sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]!.toFixed(2)} ms`;
}

async function measure(name: string, pid: number, work: () => Promise<void>): Promise<void> {
  for (let i = 0; i < 300; i++) await work(); // warm up
  const latencies: number[] = [];
  const cpu = cpuMs(pid);
  const started = performance.now();
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (latencies.length < count) {
        const begun = performance.now();
        await work();
        latencies.push(performance.now() - begun);
      }
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  const used = (cpuMs(pid) - cpu) / latencies.length;
  latencies.sort((a, b) => a - b);
  process.stdout.write(
    `${name}: p50 ${quantile(latencies, 0.5)}, p99 ${quantile(latencies, 0.99)}, ${Math.round(latencies.length / seconds)}/s, ` +
      `gateway CPU ${used.toFixed(3)} ms each\n`,
  );
}

async function main(): Promise<void> {
  const server = await startNatsServer();
  const folder = mkdtempSync(join(tmpdir(), 'volley-bench-'));
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, TOKEN, { mode: 0o600 });
  const nc = await connectNats({ servers: server.url, name: 'bench' });
  const controller = await ScriptedController.start(nc);
  controller.script.start = 'hangs';
  const gateway = spawn(
    process.execPath,
    ['--conditions=jest', '-r', './test/support/ts-register.cjs', 'apps/gateway/src/main.ts'],
    {
      env: { ...process.env, VOLLEY_NATS_URL: server.url, VOLLEY_TOKEN_FILE: tokenFile, VOLLEY_LISTEN: '127.0.0.1:0' },
    },
  );
  try {
    let url = '';
    for await (const line of createInterface({ input: gateway.stdout })) {
      url = (JSON.parse(line) as { url?: string }).url ?? '';
      if (url !== '') break;
    }
    gateway.stdout.resume();
    const agent = new Agent({ keepAlive: true, maxSockets: concurrency });
    const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' };
    const ask = (method: string, path: string, body?: string): Promise<void> =>
      new Promise((resolve, reject) => {
        request(url + path, { method, agent, headers }, (response) => {
          if (response.statusCode! >= 400) reject(new Error(`${path}: ${response.statusCode}`));
          response.resume().on('end', resolve);
        })
          .on('error', reject)
          .end(body);
      });
    const bus = new BusClient(nc, pino({ level: 'silent' }));
    const pid = gateway.pid!;
    process.stdout.write(`${count} each, ${concurrency} at once\n`);
    await measure('GET /healthz              ', pid, () => ask('GET', '/healthz'));
    await measure('bus create, no gateway    ', pid, async () => void (await bus.call(createMicrovm, { spec: SPEC })));
    await measure('POST /v1/microvms         ', pid, () => ask('POST', '/v1/microvms', JSON.stringify(SPEC)));
    controller.script.start = 'done';
    await measure('POST ...?wait=running     ', pid, () =>
      ask('POST', '/v1/microvms?wait=running', JSON.stringify(SPEC)),
    );
    agent.destroy();
  } finally {
    gateway.kill('SIGKILL');
    await nc.close();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

void main();
