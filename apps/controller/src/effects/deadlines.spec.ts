import type { NatsConnection } from 'nats';
import pino from 'pino';
import { connectNats } from '#bus';
import { openMicrovmJournal } from '#fleet';
import { wallClockMs } from '#journal';
import { decideEvents, foldMicrovmRecord, microvmContext, microvmState, type MicrovmLife } from '#lifecycle';
import { microvmHistory, MicrovmSpec, type MicrovmEvent } from '#protocol';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { MicrovmHistories } from '../histories/microvm-histories';
import type { Partitions } from '../partitions/partitions';
import type { QuotaGate } from '../tenants/quota-gate';
import { Deadlines } from './deadlines';

const HOUR = 3_600_000;
const ID = '01hzzzzzzzzzzzzzzzzzzzzzz1';
const HERE = { hostId: 'h', epoch: 1 };

describeWithNats('deadlines of what has run for hours', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let histories: MicrovmHistories;
  let deadlines: Deadlines;
  let refusal: Error | undefined;
  let asked: number;

  beforeEach(async () => {
    server = await startNatsServer();
    nc = await connectNats({ servers: server.url, name: 'deadlines' });
    refusal = undefined;
    asked = 0;
  });
  afterEach(async () => {
    deadlines?.onModuleDestroy();
    histories?.onModuleDestroy();
    await nc.close();
    await server.stop();
  });

  /** A history whose records are as old as a test says. */
  async function written(spec: Partial<MicrovmSpec>, ageMs: number, ...more: MicrovmEvent[][]): Promise<void> {
    const journal = await openMicrovmJournal(nc, () => undefined);
    const timings = { receivedAt: 0, admittedAt: 0, launchedAt: 0, vmmEnteredAt: 0, guestRunAt: 0, guestBootedAt: 0 };
    const whole = MicrovmSpec.parse({ image: 'canary', ...spec });
    const commands: MicrovmEvent[][] = [
      [{ type: 'requested', spec: whole, requestedAt: 0, specHash: 'x' }, { type: 'placementStarted' }],
      [{ type: 'placed', ...HERE, receiptId: 'r', decidedAt: 0 }],
      [{ type: 'started', ...HERE, pid: 1, timings }],
      ...more,
    ];
    let life: MicrovmLife | null = null;
    for (const [i, events] of commands.entries()) {
      const at = wallClockMs() - ageMs + i;
      const who = { microvmId: ID, commandId: `c${i}`, cause: { kind: 'operator' as const, by: 'test' }, at };
      const decision = decideEvents(life, events, who);
      if (decision.kind !== 'record') throw new Error(`${decision.kind}: ${JSON.stringify(events)}`);
      const expectedSequence: number = life?.revision ?? 0;
      const { sequence } = await journal.append(microvmHistory(ID), decision.record, {
        commandId: `c${i}`,
        expectedSequence,
      });
      life = foldMicrovmRecord(life, decision.record, sequence);
    }
  }

  /** A controller that takes everything over. Resolves with the microVM once it is as awaited. */
  async function takenOver(awaited: (life: MicrovmLife) => boolean): Promise<MicrovmLife> {
    const log = pino({ level: 'silent' });
    histories = new MicrovmHistories(nc, log);
    let takeOver = (_: unknown): void => undefined;
    const partitions = {
      owns: () => true,
      onChange: (listener: typeof takeOver) => void (takeOver = listener),
    } as unknown as Partitions;
    const quotas = {
      start: (_: string, work: () => unknown) => {
        asked++;
        return refusal ? Promise.reject(refusal) : work();
      },
    } as unknown as QuotaGate;
    await histories.onModuleInit();
    deadlines = new Deadlines(histories, partitions, quotas, log);
    return new Promise((resolve) => {
      histories.listen({ changed: (life) => awaited(life) && resolve(life), asked: () => undefined });
      takeOver({ gained: { has: () => true }, lost: new Set() });
    });
  }

  it('pass although a review before them changes nothing', async () => {
    await written({ ttlSeconds: 5_400 }, 2 * HOUR);
    const life = await takenOver((one) => microvmState(one) === 'deleting');
    expect(microvmContext(life).reason).toBe('its time to live is over');
  });

  it('pass although protection keeps the one before them from changing anything', async () => {
    await written({ ttlSeconds: 60, deleteProtection: true, schedule: { stop: '* * * * *' } }, 2 * HOUR);
    const life = await takenOver((one) => microvmState(one) === 'stopping');
    expect(life.timers.has('timeToLive')).toBe(true);
  });

  it('that start a microVM have to pass the quotas of its tenant', async () => {
    const ended: MicrovmEvent = { type: 'exited', ...HERE, exit: { reason: 'powerOff', message: 'off', at: 0 } };
    await written({ schedule: { start: '* * * * *' } }, 2 * HOUR, [ended]);
    await takenOver((one) => microvmState(one) === 'placing');
    expect(asked).toBe(1);
  });
});
