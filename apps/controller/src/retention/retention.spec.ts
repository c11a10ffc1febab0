import type { NatsConnection } from 'nats';
import { pino } from 'pino';
import { connectNats } from '#bus';
import { openMicrovmJournal, openReceiptJournal, RetentionMark } from '#fleet';
import { microvmHistory, MicrovmSpec, sortableId, type MicrovmEvent } from '#protocol';
import { decideEvents, foldMicrovmRecord, type MicrovmLife } from '#lifecycle';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import type { Partitions } from '../partitions/partitions';
import { Retention } from './retention';

const DAY_MS = 86_400_000;

describeWithNats('Retention', () => {
  let server: NatsServer;
  let nats: NatsConnection;
  let owns: boolean;

  beforeEach(async () => {
    server = await startNatsServer();
    nats = await connectNats({ servers: server.url, name: 'retention-test' });
    owns = true;
  });
  afterEach(async () => {
    await nats.close();
    await server.stop();
  });

  async function retention(days: number | null): Promise<Retention> {
    const partitions = { owns: () => owns } as unknown as Partitions;
    const it = new Retention(days, nats, pino({ level: 'silent' }), partitions);
    await it.onModuleInit();
    return it;
  }

  /** A microVM that was created and deleted at these times; told as [time, number of records left]. */
  async function lived(from: number, to?: number): Promise<() => Promise<number>> {
    const journal = await openMicrovmJournal(nats, () => undefined);
    const id = sortableId(from, new Uint8Array(10).fill(from % 251));
    const spec = MicrovmSpec.parse({ image: 'canary' });
    const story: [number, MicrovmEvent[]][] = [
      [from, [{ type: 'requested', spec, requestedAt: from, specHash: 'x' }]],
      [from, [{ type: 'placementStarted' }]],
      ...(to === undefined ? [] : [[to, [{ type: 'deleteRequested' as const }]] as [number, MicrovmEvent[]]]),
    ];
    let life: MicrovmLife | null = null;
    for (const [i, [at, events]] of story.entries()) {
      const cause = { kind: 'controller' as const, by: 'test' };
      const decision = decideEvents(life, events, { microvmId: id, commandId: `c${i}`, cause, at });
      if (decision.kind !== 'record') throw new Error(decision.kind);
      const { sequence } = await journal.append(microvmHistory(id), decision.record, {
        commandId: `c${i}`,
        expectedSequence: life?.revision ?? 0,
      });
      life = foldMicrovmRecord(life, decision.record, sequence);
    }
    return async () => (await journal.read(microvmHistory(id))).entries.length;
  }

  it('compacts what was deleted before its time, notes it, and leaves the living alone', async () => {
    const now = Date.now();
    const old = await lived(now - 5 * DAY_MS, now - 3 * DAY_MS);
    const recent = await lived(now - 6 * DAY_MS, now - DAY_MS);
    const living = await lived(now - 7 * DAY_MS);
    await (await retention(2)).run(now);
    expect([await old(), await recent(), await living()]).toEqual([1, 3, 2]);
    const mark = await (await RetentionMark.open(nats)).read();
    expect(mark).toMatchObject({ days: 2, compactedBefore: now - 2 * DAY_MS });
    expect(mark.ranAt).toBeGreaterThanOrEqual(now);
    // The setting is taken back; what is gone stays noted.
    await (await retention(null)).run(now);
    expect(await (await RetentionMark.open(nats)).read()).toMatchObject({
      days: null,
      compactedBefore: now - 2 * DAY_MS,
    });
  });

  it('keeps everything by default', async () => {
    const now = Date.now();
    const old = await lived(now - 900 * DAY_MS, now - 800 * DAY_MS);
    await (await retention(null)).run(now);
    expect(await old()).toBe(3);
    expect(await (await RetentionMark.open(nats)).read()).toEqual({ days: null, compactedBefore: null, ranAt: null });
  });

  it('throws away old receipts', async () => {
    const receipts = await openReceiptJournal(nats, () => undefined);
    await receipts.append('volley.receipts.p', {} as never, { commandId: 'r', expectedSequence: 'any' });
    await (await retention(2)).run(Date.now());
    expect(await receipts.firstTimeMs()).toBeDefined();
    await (await retention(2)).run(Date.now() + 3 * DAY_MS);
    expect(await receipts.firstTimeMs()).toBeUndefined();
  });

  it('leaves the work to whoever owns it', async () => {
    const now = Date.now();
    const old = await lived(now - 5 * DAY_MS, now - 3 * DAY_MS);
    owns = false;
    await (await retention(2)).run(now);
    expect(await old()).toBe(3);
    expect((await (await RetentionMark.open(nats)).read()).compactedBefore).toBeNull();
  });
});
