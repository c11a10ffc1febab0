// What it costs to look into the past of a long history, on a real nats-server of its own:
//   node --conditions=jest -r ./test/support/ts-register.cjs test/bench/replay-bench.ts [records]
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { connectNats } from '#bus';
import { compactExpired, FleetPast, openMicrovmJournal, openStoredMicrovms } from '#fleet';
import { foldMicrovmRecord, type MicrovmLife } from '#lifecycle';
import { microvmHistory, MicrovmSpec, sortableId, type MicrovmEvent, type MicrovmRecord } from '#protocol';
import { startNatsServer } from '../support/nats-server';

const RECORDS = Number(process.argv[2] ?? 200_000);
/** One of so many lives on. */
const SURVIVES = 10;
const BEGIN = Date.now() - 3_600_000;

/** Lives of five records: created, placed, started, asked to go, gone. */
function* histories(): Generator<MicrovmRecord> {
  const spec = MicrovmSpec.parse({ image: 'canary', memoryMiB: 16 });
  for (let n = 0, written = 0; written < RECORDS; n++) {
    const at = BEGIN + (written * 3_000_000) / RECORDS;
    const random = new Uint8Array(10);
    new DataView(random.buffer).setUint32(0, n);
    const id = sortableId(Math.floor(at), random);
    const here = { hostId: `host-${n % 100}`, epoch: 1 };
    const timings = {
      receivedAt: at,
      admittedAt: at,
      launchedAt: at,
      vmmEnteredAt: at,
      guestRunAt: at,
      guestBootedAt: at,
    };
    const story: [MicrovmRecord['from'], MicrovmRecord['to'], MicrovmEvent[]][] = [
      [null, 'placing', [{ type: 'requested', spec, requestedAt: at, specHash: 'x' }, { type: 'placementStarted' }]],
      ['placing', 'starting', [{ type: 'placed', ...here, receiptId: 'r', decidedAt: at }]],
      ['starting', 'running', [{ type: 'started', ...here, pid: 1, timings }]],
      ['running', 'deleting', [{ type: 'deleteRequested' }]],
      ['deleting', 'deleted', [{ type: 'erased', ...here }]],
    ];
    for (const [i, [from, to, events]] of story.slice(0, n % SURVIVES === 0 ? 3 : 5).entries()) {
      written++;
      const cause = { kind: 'controller' as const, by: 'bench' };
      yield { machine: 1, microvmId: id, commandId: `c${i}`, cause, at: at + i, from, to, events };
    }
  }
}

function take<T>(from: Iterator<T>, most: number): T[] {
  const taken: T[] = [];
  for (let next; taken.length < most && !(next = from.next()).done;) taken.push(next.value as T);
  return taken;
}

const perSecond = (count: number, ms: number): string => `${Math.round((count / ms) * 1_000)}/s`;

async function timed<T>(label: string, count: number, work: () => Promise<T>): Promise<T> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const started = performance.now();
  const result = await work();
  const ms = performance.now() - started;
  delay.disable();
  const held = `event loop held p99 ${(delay.percentile(99) / 1e6).toFixed(1)} ms, max ${(delay.max / 1e6).toFixed(1)} ms`;
  const memory = `${Math.round(process.memoryUsage().rss / 2 ** 20)} MiB`;
  console.log(`${label}: ${Math.round(ms)} ms (${perSecond(count, ms)}), ${held}, ${memory}`);
  return result;
}

async function main(): Promise<void> {
  const server = await startNatsServer();
  const nc = await connectNats({ servers: server.url, name: 'replay-bench' });
  const none = (): void => undefined;
  const journal = await openMicrovmJournal(nc, none);
  const all = histories();
  let written = 0;
  await timed('written', RECORDS, async () => {
    // Sent on one connection, so stored in this order without waiting for each.
    for (let batch = take(all, 512); batch.length > 0; batch = take(all, 512)) {
      await Promise.all(
        batch.map((record) =>
          journal.append(microvmHistory(record.microvmId), record, {
            commandId: record.commandId,
            expectedSequence: 'any',
          }),
        ),
      );
      written += batch.length;
    }
  });

  await timed('every record folded, as a process does at its start', written, async () => {
    const lives = new Map<string, MicrovmLife>();
    const follower = journal.follow({
      onRecord: ({ record, sequence }) => {
        const life = foldMicrovmRecord(lives.get(record.microvmId) ?? null, record, sequence);
        if (record.to === 'deleted') lives.delete(life.id);
        else lives.set(life.id, life);
      },
    });
    await follower.caughtUp;
    follower.close();
  });
  const past = await FleetPast.open(nc, none);
  const middle = BEGIN + 1_500_000;
  const first = await timed('the fleet at an instant', written, () => past.fleetAt(middle));
  console.log(`  ${first.size} microVMs lived then`);
  await timed('a later instant, from there', written, () => past.fleetAt(middle + 600_000));
  await timed('the same again', 1, () => past.fleetAt(middle));
  await timed('what became of it in between', written, () => past.diff(middle, middle + 600_000));
  await timed('who shared a host', written, () => past.coresidency('default', { from: BEGIN, to: middle }));
  const stored = await openStoredMicrovms(nc, none);
  let left = 500;
  await timed('500 histories compacted', 500, () =>
    compactExpired({ journal: stored, endedBefore: middle, mayGoOn: () => left-- > 0, pause: () => Promise.resolve() }),
  );
  await nc.close();
  await server.stop();
}

void main();
