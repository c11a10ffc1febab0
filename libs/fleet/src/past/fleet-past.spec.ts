import { connect, type NatsConnection } from 'nats';
import { decideHostEvents, foldHostRecord, viewMicrovm, foldMicrovmRecord, type MicrovmLife } from '#lifecycle';
import { hostHistory, microvmHistory, type HostEvent, type HostRecord } from '#protocol';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { openGroupJournal, openHostJournal, openMicrovmJournal } from '../journals';
import { grownHistories } from '../testing/grown-histories';
import { created, deleteRequested, writeGroup } from '../testing/write-group';
import { writeHistories } from '../testing/write-histories';
import { FleetPast } from './fleet-past';

const START = Date.now() - 3_600_000;

describeWithNats('FleetPast', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let past: FleetPast;
  const records = grownHistories({ seed: 7, microvms: 25, records: 400, startMs: START, stepMs: 1_000 });

  beforeAll(async () => {
    server = await startNatsServer();
    nc = await connect({ servers: server.url });
    const fail = ({ error }: { error: unknown }): void => {
      throw error;
    };
    await writeHistories(await openMicrovmJournal(nc, fail), records);
    const hosts = await openHostJournal(nc, fail);
    await hosts.append(hostHistory('host-a'), hostRecord(null, START), { commandId: 'h1', expectedSequence: 0 });
    const cordoned = hostRecord(hostRecord(null, START), START + 200_000);
    await hosts.append(hostHistory('host-a'), cordoned, { commandId: 'h2', expectedSequence: 1 });
    await writeGroup(
      await openGroupJournal(nc, fail),
      'default_web',
      [created('web'), { type: 'scaled', replicas: 5 }, [deleteRequested, { type: 'deleted' }]],
      START + 200_000,
    );
    past = await FleetPast.open(nc, fail);
  });
  afterAll(async () => {
    await nc.close();
    await server.stop();
  });

  /** Of one microVM, the obvious way. */
  function foldOne(id: string, at: number) {
    let life: MicrovmLife | null = null;
    for (const [i, record] of records.entries()) {
      if (record.microvmId === id && record.at <= at) life = foldMicrovmRecord(life, record, i + 1);
    }
    return life && viewMicrovm(life);
  }
  const idsBy = (at: number): string[] =>
    [...new Set(records.filter((r) => r.at <= at).map((r) => r.microvmId))].sort();

  it('shows every microVM and host as it was, page by page, by the filters of a list', async () => {
    const at = START + 150_500;
    const picture = await past.fleetAt(at);
    const expected = idsBy(at)
      .map((id) => foldOne(id, at)!)
      .filter(({ state }) => state !== 'deleted');
    const shown = [];
    for (let cursor: string | null | undefined; cursor !== null;) {
      const page = picture.list({ limit: 4, ...(cursor === undefined ? {} : { cursor }) });
      shown.push(...page.items);
      cursor = page.nextCursor;
    }
    expect(shown).toEqual(expected);
    const state = expected[0]!.state;
    expect(picture.list({ limit: 1_000, state: [state] }).items).toEqual(expected.filter((one) => one.state === state));
    expect(picture.countByState()[state]).toBe(expected.filter((one) => one.state === state).length);
    expect(picture.hosts().map(({ id, state }) => [id, state])).toEqual([['host-a', 'ready']]);
    expect((await past.fleetAt(START + 300_000)).hosts().map(({ state }) => state)).toEqual(['cordoned']);
  });

  it('shows groups as they were, together and one by one, and what became of them', async () => {
    const replicas = async (at: number) => (await past.fleetAt(at)).groups().map((group) => group.replicas);
    expect(await replicas(START + 199_999)).toEqual([]);
    expect(await replicas(START + 200_500)).toEqual([3]);
    expect(await replicas(START + 201_500)).toEqual([5]);
    expect(await replicas(START + 202_500)).toEqual([]);
    const alone = await past.groupAt('default_web', START + 201_500);
    expect(alone).toMatchObject({ state: 'active', replicas: 5, members: [] });
    expect(await past.groupAt('default_web', START + 300_000)).toMatchObject({ state: 'deleted' });
    const diff = async (from: number, to: number) => (await past.diff(START + from, START + to)).groups;
    expect(await diff(199_000, 200_500)).toMatchObject([{ id: 'default_web', from: null, to: { replicas: 3 } }]);
    expect(await diff(200_500, 201_500)).toMatchObject([{ from: { replicas: 3 }, to: { replicas: 5 } }]);
    expect(await diff(201_500, 202_500)).toMatchObject([{ from: { replicas: 5 }, to: null }]);
    expect(await diff(201_500, 201_900)).toEqual([]);
  });

  it('shows the deleted when they are asked for', async () => {
    const at = START + 300_500;
    const deleted = idsBy(at).filter((id) => foldOne(id, at)!.state === 'deleted');
    expect(deleted.length).toBeGreaterThan(3);
    const picture = await past.fleetAt(at, { ended: true });
    expect(picture.list({ limit: 1_000, state: ['deleted'] }).items.map(({ id }) => id)).toEqual(deleted);
    expect((await past.fleetAt(at)).list({ limit: 1_000, state: ['deleted'] }).items).toEqual([]);
  });

  it('says the same of one microVM alone', async () => {
    const at = START + 150_500;
    const picture = await past.fleetAt(at);
    for (const id of idsBy(at)) {
      const alone = await past.microvmAt(id, at);
      expect(alone).toEqual(foldOne(id, at));
      if (alone.state !== 'deleted') expect(picture.microvm(id)).toEqual(alone);
    }
    expect((await past.hostAt('host-a', START + 150_000)).state).toBe('ready');
  });

  it('reaches a later instant from the picture of an earlier one, and pages of one instant from one replay', async () => {
    const fresh = await FleetPast.open(nc, () => undefined);
    const early = await fresh.fleetAt(START + 100_500);
    const late = await fresh.fleetAt(START + 110_500);
    expect(late.microvms.lives.size).toBeGreaterThan(0);
    const untouched = [...early.microvms.lives].filter(([id, life]) => late.microvms.lives.get(id) === life);
    expect(untouched.length).toBeGreaterThan(0); // the very same object: it was not folded again
    expect(await fresh.fleetAt(START + 110_500)).toBe(late);
  });

  it('tells what became of the fleet between two instants', async () => {
    const [from, to] = [START + 100_500, START + 300_500];
    const { changes, sums, hosts } = await past.diff(from, to);
    const [before, after] = [new Map(alive(from)), new Map(alive(to))];
    for (const { id, change, from: was, to: is } of changes) {
      expect([was?.state, is?.state]).toEqual([before.get(id)?.state, after.get(id)?.state]);
      const expected = before.has(id)
        ? after.has(id)
          ? 'changed'
          : 'ended'
        : after.has(id)
          ? 'appeared'
          : 'cameAndWent';
      expect(change).toBe(expected);
    }
    expect(sums.ended + sums.changed + sums.unchanged).toBe(before.size);
    expect(sums.appeared + sums.changed + sums.unchanged).toBe(after.size);
    expect(sums.cameAndWent).toBe(idsBy(to).length - idsBy(from).length - sums.appeared);
    expect(sums.cameAndWent).toBeGreaterThan(0);
    expect(hosts).toEqual([{ id: 'host-a', from: 'ready', to: 'cordoned' }]);
  });
  const alive = (at: number) =>
    idsBy(at)
      .map((id) => [id, foldOne(id, at)!] as const)
      .filter(([, { state }]) => state !== 'deleted');

  it.each([
    ['what is yet to come', () => past.fleetAt(Date.now() + 60_000), 'invalid', /is yet to come/],
    ['before all history', () => past.fleetAt(START - 1), 'invalid', /before all history, which begins at/],
    ['1970', () => past.fleetAt(0), 'invalid', /before all history/],
    [
      'a microVM before its birth',
      () => past.microvmAt(records[0]!.microvmId, START - 10),
      'notFound',
      /did not exist yet/,
    ],
    ['a microVM that never was', () => past.microvmAt('01hzzzzzzzzzzzzzzzzzzzzzzz', START), 'notFound', /never was/],
    ['a group before it was created', () => past.groupAt('default_web', START), 'notFound', /did not exist yet/],
    ['a group that never was', () => past.groupAt('default_no', START), 'notFound', /never was/],
    ['a host before it registered', () => past.hostAt('host-a', START - 10), 'notFound', /did not exist yet/],
    ['a diff backwards', () => past.diff(START + 10, START), 'invalid', /before `to`/],
  ])('gives a clear answer to %s', async (_, ask, code, message) => {
    await expect(ask()).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
  });

  it('lets few look at a time and tells the others to come back', async () => {
    const fresh = await FleetPast.open(nc, () => undefined);
    const asked = await Promise.allSettled(
      Array.from({ length: 12 }, (_, i) => fresh.fleetAt(START + 1_000 * (i + 1))),
    );
    const turnedAway = asked.filter(({ status }) => status === 'rejected');
    expect(turnedAway).toHaveLength(7);
    for (const { reason } of turnedAway as PromiseRejectedResult[]) {
      expect(reason).toMatchObject({ code: 'overloaded', retryAfterMs: 2_000 });
    }
  });

  it('stops reading when nobody waits any more', async () => {
    const gone = new AbortController();
    const asked = past.fleetAt(START + 222_222, { signal: gone.signal });
    gone.abort(new Error('gone'));
    await expect(asked).rejects.toThrow('gone');
  });

  it('says of a compacted history that what it was is gone, and shows the rest as before', async () => {
    const journal = await openMicrovmJournal(nc, () => undefined);
    const id = records.find(({ to }) => to === 'deleted')!.microvmId;
    const end = records.find(({ to, microvmId }) => to === 'deleted' && microvmId === id)!;
    const at = START + 390_500;
    const before = (await past.fleetAt(at)).list({ limit: 1_000 });
    expect(await journal.compact(microvmHistory(id))).toBeGreaterThan(0);
    const fresh = await FleetPast.open(nc, () => undefined);
    expect((await fresh.fleetAt(at)).list({ limit: 1_000 })).toEqual(before);
    expect(await fresh.microvmAt(id, end.at)).toMatchObject({ id, state: 'deleted' });
    await expect(fresh.microvmAt(id, end.at - 1)).rejects.toMatchObject({
      code: 'notFound',
      message: expect.stringContaining('no longer on record') as string,
    });
  });
});

/** Registered and ready, or cordoned after `before`. */
function hostRecord(before: HostRecord | null, at: number): HostRecord {
  const events: HostEvent[] = before
    ? [{ type: 'cordonRequested' }]
    : [{ type: 'registered', description: DESCRIPTION }, { type: 'admitted' }];
  const life = before && foldHostRecord(null, before, 1);
  const cause = { kind: 'operator' as const, by: 'test' };
  const decision = decideHostEvents(life, events, { hostId: 'host-a', commandId: `h${at}`, cause, at });
  if (decision.kind !== 'record') throw new Error(decision.kind);
  return decision.record;
}

const DESCRIPTION = {
  hostId: 'host-a',
  hostname: 'a.example',
  kernel: '6.1',
  agentVersion: '0',
  bootId: 'b',
  kvm: { available: true, kind: 'software' as const },
  cpus: 2,
  memoryMiB: 4_096,
  reserveMiB: 512,
  slots: 100,
  overcommit: { cpu: 4, memory: 1.5 },
  images: ['canary'],
  labels: {},
};
