// What the journal and the bus cost, on a real nats-server of its own:
//   node --conditions=jest -r ./test/support/ts-register.cjs test/bench/journal-bench.ts
import 'reflect-metadata';
import { Controller } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import pino from 'pino';
import { z } from 'zod';
import { BusClient, connectNats, FleetBus, Handles } from '#bus';
import { Journal } from '#journal';
import { operation } from '#protocol';
import { startNatsServer } from '../support/nats-server';

const echo = operation({
  subject: 'bench.echo',
  request: z.strictObject({ text: z.string() }),
  reply: z.strictObject({ text: z.string() }),
  deadlineMs: 5_000,
  summary: 'Answers what was asked.',
});

@Controller()
class EchoController {
  @Handles(echo)
  echo(request: { text: string }) {
    return request;
  }
}

interface Payload {
  sentMs: number;
  padding: string;
}

function quantiles(values: number[]): string {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q: number): string => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]!.toFixed(2);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`;
}

/** Runs `count` tasks with `width` in flight; returns tasks per second. */
async function pipeline(count: number, width: number, task: (i: number) => Promise<void>): Promise<number> {
  const start = performance.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (next < count) await task(next++);
    }),
  );
  return Math.round((count / (performance.now() - start)) * 1000);
}

async function main(): Promise<void> {
  const server = await startNatsServer();
  const logger = pino({ level: 'warn' });
  const nc = await connectNats({ servers: server.url, name: 'bench', logger });
  const journal = await Journal.open<Payload>(nc, { stream: 'BENCH', subjects: ['bench.record.>'] });
  const padding = 'x'.repeat(200);
  let live: number[] = [];
  const follower = journal.follow({ onRecord: ({ record }) => live.push(performance.now() - record.sentMs) });
  await follower.caughtUp;

  const run = async (label: string, count: number, width: number): Promise<void> => {
    live = [];
    const acks: number[] = [];
    const sequences: number[] = [];
    const rate = await pipeline(count, width, async (i) => {
      const sentMs = performance.now();
      const { sequence } = await journal.append(
        `bench.record.${label}.${i}`,
        { sentMs, padding },
        { commandId: 'c', expectedSequence: 0 },
      );
      acks.push(performance.now() - sentMs);
      sequences.push(sequence);
    });
    await follower.waitFor(Math.max(...sequences.slice(-width)), 10_000);
    console.log(`append, ${width} in flight: ${rate}/s; acknowledged ${quantiles(acks)}; delivered ${quantiles(live)}`);
  };
  await run('warm', 3_000, 8);
  await run('alone', 3_000, 1);
  await run('eight', 10_000, 8);
  await run('many', 30_000, 256);

  const start = performance.now();
  let replayed = 0;
  const replay = journal.follow({ onRecord: () => replayed++ });
  await replay.caughtUp;
  console.log(`replay: ${Math.round((replayed / (performance.now() - start)) * 1000)} records/s`);
  const reads: number[] = [];
  for (let i = 0; i < 500; i++) {
    const began = performance.now();
    await journal.read(`bench.record.many.${i}`);
    reads.push(performance.now() - began);
  }
  console.log(`read one history: ${quantiles(reads)}`);

  const bus = new FleetBus({ connection: nc, logger });
  const app = await NestFactory.createMicroservice(
    { module: class BenchModule {}, controllers: [EchoController] },
    { strategy: bus, logger: false },
  );
  await app.listen();
  const caller = await connectNats({ servers: server.url, name: 'caller', logger });
  const client = new BusClient(caller, logger);
  for (const width of [1, 1, 64]) {
    const calls: number[] = [];
    const rate = await pipeline(width === 1 ? 3_000 : 20_000, width, async () => {
      const began = performance.now();
      await client.call(echo, { text: padding });
      calls.push(performance.now() - began);
    });
    console.log(`call, ${width} in flight: ${rate}/s; ${quantiles(calls)}`);
  }
  await app.close();
  await caller.close();
  await nc.close();
  await server.stop();
}

void main();
