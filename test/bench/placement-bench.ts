// What placement decides in a second and how soon, with a fleet that reports every second, receipts stored on a real nats-server:
//   node --conditions=jest -r ./test/support/ts-register.cjs test/bench/placement-bench.ts [hosts] [decisions per second]
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { describedHost, hostRecord, reportOf } from '../support/known-hosts';
import { BusClient, connectNats } from '#bus';
import { openHostJournal } from '#fleet';
import {
  densityReport,
  fleetDensity,
  hostHistory,
  MicrovmSpec,
  placeMicrovm,
  RECEIPT_STREAM,
  sortableId,
  type ReplyOf,
} from '#protocol';
import { jetstreamManager } from '@nats-io/jetstream';
import { randomBytes } from 'node:crypto';
import { startNatsServer } from '../support/nats-server';

const [hosts = 1_000, rate = 2_500] = process.argv.slice(2).map(Number);
const SECONDS = 5;
const ROOT = join(__dirname, '../..');
const spec = MicrovmSpec.parse({ image: 'canary', memoryMiB: 32 });

/** How full the fleet is: the share of hosts that can take nothing more. */
const FLEETS = [
  { name: 'half-full fleet (500 of 1,000 hosts full)', full: 0.5 },
  { name: 'nearly full fleet (5 of 1,000 hosts have room)', full: 0.995 },
  { name: 'full fleet (every decision is that there is no host)', full: 1 },
];

function line(label: string, ms: number[], perSecond: number, note: string): void {
  const sorted = Float64Array.from(ms).sort();
  const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]!.toFixed(2);
  const times = `p50 ${at(0.5)} ms   p99 ${at(0.99)} ms   max ${at(1)} ms`;
  console.log(`  ${label.padEnd(18)} ${perSecond.toFixed(0).padStart(6)}/s   ${times}   ${note}`);
}

/** CPU seconds of another process so far. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function startPlacement(url: string): Promise<ChildProcess> {
  const register = join(ROOT, 'test/support/ts-register.cjs');
  const main = join(ROOT, 'apps/placement/src/main.ts');
  const child = spawn(process.execPath, ['--conditions=jest', '-r', register, main], {
    env: { PATH: process.env['PATH'], VOLLEY_NATS_URL: url },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  process.once('exit', () => child.kill('SIGKILL'));
  for await (const chunk of child.stdout!) if (String(chunk).includes('is ready')) break;
  child.stdout!.resume();
  return child;
}

async function main(): Promise<void> {
  process.once('SIGTERM', () => process.exit(1)); // and what it has started with it
  const server = await startNatsServer();
  const nats = await connectNats({ servers: server.url, name: 'bench' });
  const bus = new BusClient(nats, pino({ level: 'silent' }));
  const journal = await openHostJournal(nats, () => undefined);
  const ids = Array.from({ length: hosts }, (_, i) => `host-${i}`);
  for (const id of ids) {
    const record = hostRecord(describedHost(id, { labels: { zone: `z${id.length}` } }), Date.now());
    await journal.append(hostHistory(id), record, { commandId: 'c1', expectedSequence: 0 });
  }
  const placement = await startPlacement(server.url);
  const jsm = await jetstreamManager(nats);

  const answered = new Map<string, string[]>(ids.map((id) => [id, []]));
  let full = 0;
  let nextHost = 0;
  // Spread over the second, as they come from hosts that do not know of each other.
  const reporting = setInterval(() => {
    for (let n = 0; n < hosts / 100; n++) {
      const i = nextHost++ % hosts;
      const id = ids[i]!;
      const headroom = i < full * hosts ? { slots: 0, vcpus: 0, memoryMiB: 0 } : {};
      const tenants = Array.from({ length: 5 }, (_, t) => ({ tenant: `tenant-${(i + t) % 50}`, microvms: 20 + t }));
      const occupancy = { tenants, groups: [], images: [], answered: answered.get(id)!.splice(0) };
      bus.publish(densityReport(id), reportOf(id, { headroom, occupancy, cpuSome: i % 50 }));
    }
  }, 10);
  const place = async (): Promise<ReplyOf<typeof placeMicrovm>> => {
    const microvmId = sortableId(Date.now(), randomBytes(10));
    const reply = await bus.call(
      placeMicrovm,
      { microvmId, epoch: 1, decisionId: microvmId, spec, excluded: [] },
      { deadlineMs: 30_000 },
    );
    if (reply.receipt.hostId !== null) answered.get(reply.receipt.hostId)!.push(microvmId);
    return reply;
  };

  console.log(
    `${hosts} hosts, each reporting every second; one placement process, nats-server and this program on the same cores`,
  );
  for (const fleet of FLEETS) {
    full = fleet.full;
    while ((await bus.call(fleetDensity, {})).hosts.length < hosts) await new Promise((r) => setTimeout(r, 100));
    await new Promise((r) => setTimeout(r, 2_000)); // every host has said how full it is
    console.log(fleet.name);
    for (const mode of ['steady', 'as fast as it can'] as const) {
      const before = (await jsm.streams.info(RECEIPT_STREAM.name)).state;
      const cpu = cpuSeconds(placement.pid!);
      const began = performance.now();
      const ms: number[] = [];
      let placed = 0;
      const one = async (): Promise<void> => {
        const asked = performance.now();
        const { receipt } = await place();
        ms.push(performance.now() - asked);
        if (receipt.hostId !== null) placed++;
      };
      if (mode === 'steady') {
        const all: Promise<void>[] = [];
        for (let i = 0; i < rate * SECONDS; i++) {
          const due = began + (i * 1_000) / rate;
          while (performance.now() < due) await new Promise((r) => setTimeout(r, 1));
          all.push(one());
        }
        await Promise.all(all);
      } else {
        const end = began + SECONDS * 1_000;
        const worker = async () => {
          while (performance.now() < end) await one();
        };
        await Promise.all(Array.from({ length: 64 }, worker));
      }
      const seconds = (performance.now() - began) / 1_000;
      const after = (await jsm.streams.info(RECEIPT_STREAM.name)).state;
      const bytes = (after.bytes - before.bytes) / ms.length;
      const cores = (cpuSeconds(placement.pid!) - cpu) / seconds;
      const note =
        `${((100 * placed) / ms.length).toFixed(0)} % placed, ${(after.messages - before.messages).toFixed(0)} messages, ` +
        `${bytes.toFixed(0)} bytes stored each, ${cores.toFixed(2)} cores`;
      line(mode === 'steady' ? `${rate}/s asked` : '64 in flight', ms, ms.length / seconds, note);
    }
  }
  clearInterval(reporting);
  const exited = once(placement, 'exit');
  placement.kill('SIGTERM');
  await exited;
  await nats.close();
  await server.stop();
}

void main();
