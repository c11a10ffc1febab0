import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import type { INestMicroservice } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import { pino } from 'pino';
import { BusClient, connectNats, FleetBus } from '#bus';
import { announceView, microvmHistory, type MicrovmRecord } from '#protocol';
import type { Journal } from '#journal';
import { decideEvents, foldMicrovmRecord, type MicrovmLife, Timers } from '#lifecycle';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import type { FleetView } from '../fleet-view';
import { openGroupJournal, openMicrovmJournal } from '../journals';
import { openFleetView } from '../open-fleet-view';
import { grownHistories } from '../testing/grown-histories';
import { created, deleteRequested, writeGroup } from '../testing/write-group';
import { writeHistories } from '../testing/write-histories';
import { auditReplay, type AuditOptions } from './audit-replay';
import type { AnyLife, LiveView } from './live-view';
import { NAMED_VIEW, ViewController, type NamedView } from './view.controller';

const QUIET = pino({ level: 'silent' });
const OPTIONS: AuditOptions = { announceMs: 300 };

describeWithNats('auditReplay', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let bus: BusClient;
  let journal: Journal<MicrovmRecord>;
  let view: FleetView;
  const apps: INestMicroservice[] = [];
  const records = grownHistories({ seed: 3, microvms: 600, records: 3_000, startMs: Date.now() - 60_000, stepMs: 10 });

  beforeAll(async () => {
    server = await startNatsServer();
    nc = await connectNats({ servers: server.url, name: 'audit-test' });
    bus = new BusClient(nc, QUIET);
    journal = await openMicrovmJournal(nc, () => undefined);
    await writeHistories(journal, records.slice(0, 2_500));
    const groups = await openGroupJournal(nc, () => undefined);
    // The second one was deleted and is there again: its history goes on.
    await writeGroup(groups, 'default_web', [created('web'), { type: 'scaled', replicas: 2 }]);
    await writeGroup(groups, 'default_again', [
      created('again'),
      [deleteRequested, { type: 'deleted' }],
      created('again'),
    ]);
    view = await openFleetView(nc, { onFailure: fail, onSkipped: (_, __, error) => fail(error) });
  });
  afterEach(async () => {
    for (const app of apps.splice(0)) await app.close();
  });
  afterAll(async () => {
    view?.close();
    await nc?.close();
    await server?.stop();
  });
  const fail = (error: unknown): never => {
    throw error;
  };

  /** A process that holds this view, as far as an auditor can tell. */
  async function serve(instance: string, live: LiveView): Promise<void> {
    const named: NamedView = { instance, service: 'test', view: live };
    const app = await NestFactory.createMicroservice(
      {
        module: class ViewModule {},
        controllers: [ViewController],
        providers: [{ provide: NAMED_VIEW, useValue: named }],
      },
      { strategy: new FleetBus({ connection: nc, logger: QUIET }), logger: false },
    );
    await app.listen();
    apps.push(app);
  }

  /** The view with its lives changed on the way out; undefined: left out. */
  const spoilt = (spoil: (life: AnyLife) => AnyLife | undefined): LiveView => ({
    positionOf: (kind) => view.positionOf(kind),
    livesAfter: (kind, cursor) =>
      [...view.livesAfter(kind, cursor)].flatMap((life) => {
        const shown = spoil(life);
        return shown ? [shown] : [];
      }),
  });
  const living = (): MicrovmLife[] => [...view.livesAfter('microvm', undefined)] as MicrovmLife[];

  it('finds that every live view is what the histories give, and says so with a hash', async () => {
    await serve('one', view);
    await serve('two', view);
    const report = await auditReplay(bus, OPTIONS);
    expect(report).toMatchObject({
      ok: true,
      records: { microvm: 2_500, host: 0, group: 5 },
      living: { group: 2 },
      differences: [],
      illegal: [],
    });
    expect(report.views.map(({ instance, kind }) => `${instance} ${kind}`)).toEqual([
      'one microvm',
      'one host',
      'one group',
      'two microvm',
      'two host',
      'two group',
    ]);
    const [one, , groups, two] = report.views;
    expect(groups).toMatchObject({ compared: 2 });
    expect(one!.compared).toBe(living().length);
    expect(one!.compared).toBeGreaterThan(300); // more than a page
    expect(new Set([one!.liveHash, one!.replayedHash, two!.liveHash]).size).toBe(1);
  });

  it('does so while the fleet changes', async () => {
    await serve('busy', view);
    const writing = writeHistories(journal, records.slice(2_500));
    expect(await auditReplay(bus, OPTIONS)).toMatchObject({ ok: true, differences: [] });
    await view.waitForMicrovmSequence(await writing, 60_000);
    expect(await auditReplay(bus, OPTIONS)).toMatchObject({ ok: true, records: { microvm: 3_000 } });
  });

  it('finds a life that a process has changed behind the histories, in anything', async () => {
    const victims = living().slice(10, 13);
    await serve(
      'spoilt',
      spoilt((life) => {
        if (life.id === victims[0]!.id) return { ...life, timers: Timers.NONE };
        if (life.id === victims[1]!.id && 'enteredAt' in life) return { ...life, enteredAt: life.enteredAt + 1 };
        return life;
      }),
    );
    await serve('whole', view);
    const { ok, differences, views } = await auditReplay(bus, OPTIONS);
    expect(ok).toBe(false);
    expect(differences.map(({ instance, id }) => [instance, id])).toEqual([
      ['spoilt', victims[0]!.id],
      ['spoilt', victims[1]!.id],
    ]);
    const { liveHash, replayedHash } = views.find(({ instance, kind }) => instance === 'spoilt' && kind === 'microvm')!;
    expect(liveHash).not.toBe(replayedHash);
  });

  it('finds a life that a process lacks, one that it has too many, and one that it did not carry on', async () => {
    const running = living().filter(({ state }) => state === 'running');
    const [lacking, stale] = running as [MicrovmLife, MicrovmLife];
    const { entries } = await journal.read(microvmHistory(stale.id));
    const before = entries
      .slice(0, -1)
      .reduce<MicrovmLife | null>((life, { record, sequence }) => foldMicrovmRecord(life, record, sequence), null);
    expect(before).not.toBeNull();
    const deleted = records.find(({ to }) => to === 'deleted')!.microvmId;
    await serve(
      'spoilt',
      spoilt((life) => {
        if (life.id === lacking.id) return { ...life, id: deleted, revision: 7 };
        return life.id === stale.id ? before! : life;
      }),
    );
    const { differences } = await auditReplay(bus, OPTIONS);
    const found = Object.fromEntries(
      differences.map(({ id, live, replayed }) => [id, [live?.revision, replayed?.revision]]),
    );
    expect(found).toEqual({
      [deleted]: [7, undefined],
      [lacking.id]: [undefined, lacking.revision],
      [stale.id]: [before!.revision, stale.revision],
    });
  });

  it('finds a record that the machine would not have written', async () => {
    await serve('one', view);
    const victim = living().find(({ state }) => state === 'running')!;
    const occasion = {
      microvmId: victim.id,
      commandId: 'forged',
      cause: { kind: 'controller', by: 'nobody' },
      at: 1,
    } as const;
    const decision = decideEvents(victim, [{ type: 'pauseRequested' }], occasion);
    if (decision.kind !== 'record') throw new Error(decision.kind);
    const forged: MicrovmRecord = { ...decision.record, to: 'stopped' };
    view.close(); // what it does about it is not asked here
    await journal.append(microvmHistory(victim.id), forged, { commandId: 'forged', expectedSequence: victim.revision });
    const { ok, illegal } = await auditReplay(bus, OPTIONS);
    expect(ok).toBe(false);
    expect(illegal).toMatchObject([
      { kind: 'microvm', id: victim.id, message: expect.stringContaining('recorded as stopped') as string },
    ]);
  });

  it('finds a group that a process has changed, and asks none of those that fold no groups yet', async () => {
    await serve(
      'spoilt',
      spoilt((life) => ('members' in life && life.id === 'default_again' ? { ...life, replicas: 9 } : life)),
    );
    const { differences } = await auditReplay(bus, OPTIONS);
    expect(differences.map(({ kind, id }) => `${kind} ${id}`)).toEqual(['group default_again']);
    expect(announceView.reply.parse({ instance: 'old', service: 'gateway' }).kinds).toEqual(['microvm', 'host']);
  });

  it('says when there is no live view at all', async () => {
    expect((await auditReplay(bus, OPTIONS)).views).toEqual([]);
  });
});
