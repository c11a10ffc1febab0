import type { BusClient } from '#bus';
import type { FleetView } from '#fleet';
import {
  cancelDrain,
  drainHost,
  killMicrovm,
  microvmHistoryOf,
  placementOf,
  planDrain,
  type Host,
  type Microvm,
  type MicrovmSpecInput,
  type RequestOf,
} from '#protocol';
import { ControlPlane } from '../support/control-plane';
import { until } from '../support/fleet';
import { describeWithNats } from '../support/nats-server';
import { ScriptedHost, type Script } from '../support/scripted-host';

jest.setTimeout(120_000);

/** States of a microVM that has no guest running for it, although somebody wants one. */
const DOWN: readonly string[] = ['moving', 'requested', 'placing', 'starting'];

describeWithNats('draining a host', () => {
  let plane: ControlPlane;
  let bus: BusClient;
  let view: FleetView;
  let emptied: ScriptedHost;
  let other: ScriptedHost;
  let names = 0;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    ({ bus, view } = plane);
  });

  afterAll(() => plane?.stop());

  /** A pair of hosts for each test: one to be emptied, and one with the rest of the room there is. */
  beforeEach(async () => {
    const number = ++names;
    const labels = { pair: String(number) };
    emptied = await ScriptedHost.start(plane.server.url, `emptied-${number}`, { labels });
    other = await ScriptedHost.start(plane.server.url, `other-${number}`, { labels, slots: 0 });
  });

  afterEach(async () => {
    await Promise.all([emptied, other].map((host) => host.close()));
    expect(await plane.violations()).toEqual([]);
    expect(plane.skipped).toEqual([]);
  });

  /** Only for the hosts of this test. */
  async function ask(change: Partial<MicrovmSpecInput> = {}): Promise<Microvm> {
    const placement = { hostLabels: { pair: String(names) } };
    // A tenant of its own: what the tests before left waiting for their hosts has its turn first.
    const own = { tenant: `tenant-${names}`, placement };
    const spec = { memoryMiB: 16, onHostLoss: 'reschedule' as const, ...own, ...change };
    return plane.create(spec);
  }

  async function create(spec: Partial<MicrovmSpecInput> = {}): Promise<Microvm> {
    return running((await ask(spec)).id, emptied.id);
  }
  /** On the host to be emptied: the other one takes nothing yet. */
  const createMany = (count: number, spec?: Partial<MicrovmSpecInput>) =>
    Promise.all(Array.from({ length: count }, () => create(spec)));

  const running = (id: string, on: string) =>
    plane.reaches(id, ({ state, hostId }) => state === 'running' && hostId === on);

  const drain = (order: Partial<RequestOf<typeof drainHost>> = {}) =>
    bus.call(drainHost, { hostId: emptied.id, graceMs: 1_000, ...order });
  const cancel = () => bus.call(cancelDrain, { hostId: emptied.id });
  const plan = async (order: Partial<RequestOf<typeof planDrain>> = {}) =>
    (await bus.call(planDrain, { hostId: emptied.id, ...order })).plan;
  const host = (): Host => view.host(emptied.id)!;
  const hostIs = (what: string, holds: (host: Host) => boolean) =>
    until(`${emptied.id} ${what}: ${JSON.stringify(view.host(emptied.id))}`, () => Promise.resolve(holds(host())));
  const drained = () => hostIs('is drained', ({ state }) => state === 'drained');
  /** Room that the placement service knows of. */
  const opened = async (slots: number): Promise<void> => {
    other.slots = slots;
    await until('there is room', async () => (await plan({})).counts.waitsForRoom === 0 || slots === 0);
  };

  it('moves what may move, a few at a time, each to a place that was chosen before it was ended', async () => {
    const microvms = await createMany(10);
    await opened(100);
    let down = 0;
    const off = view.onChange(() => {
      const now = view.list({ limit: 1_000 }).items.filter(({ state, hostId }) => {
        return DOWN.includes(state) && (hostId === emptied.id || hostId === other.id);
      });
      down = Math.max(down, now.length);
    });
    // Nobody is gone before three are on their way: so many at once it shall be.
    const told: Parameters<Script>[0][] = [];
    emptied.script = (command) => {
      if (command.type !== 'stop' || told.length === 3) return 'obey';
      if (!told.some(({ microvmId }) => microvmId === command.microvmId)) told.push(command);
      if (told.length === 3) for (const one of told) void emptied.obey(one);
      return 'accept';
    };
    await drain({ parallel: 3 });
    await drained();
    off();
    expect(down).toBe(3);
    for (const { id } of microvms) {
      expect(await running(id, other.id)).toMatchObject({ epoch: 2, restarts: 0 });
      const { entries } = await bus.call(microvmHistoryOf, { id });
      expect(entries.slice(-4).map(({ from, to, cause }) => `${cause.by} ${from}-${to}`)).toEqual([
        'drain running-moving',
        `${emptied.id} moving-placing`,
        'placement placing-starting',
        `${other.id} starting-running`,
      ]);
      const { receipts } = await bus.call(placementOf, { microvmId: id });
      expect(receipts).toHaveLength(2);
      const placed = entries.flatMap(({ events }) => events).filter((event) => event.type === 'placed');
      expect(receipts.at(-1)).toMatchObject({ id: placed.at(-1)!.receiptId, hostId: other.id, epoch: 2 });
    }
    await hostIs('has counted', ({ drain }) => drain?.progress.moved === 10);
    expect(host().drain!.progress).toEqual({ total: 10, moved: 10, moving: 0, waiting: 0, stopped: 0, failed: 0 });
    const stops = emptied.commands.filter((command) => command.type === 'stop');
    expect(new Set(stops.map(({ microvmId }) => microvmId))).toEqual(new Set(microvms.map(({ id }) => id)));
    expect(new Set(stops.map(({ timeoutMs }) => timeoutMs))).toEqual(new Set([1_000]));
    // What they left behind is cleaned up, and nothing new comes.
    await until('nothing is left there', () => Promise.resolve(emptied.held.size === 0));
    other.slots = 0;
    const late = await ask();
    await plane.reaches(late.id, ({ reason }) => reason !== null);
    expect((await cancel()).host).toMatchObject({ state: 'ready' });
    await running(late.id, emptied.id);
  });

  it('leaves running what no other host has room for, says so, and goes on when there is room', async () => {
    const microvms = await createMany(4);
    other.slots = 2;
    await until('there is room for two', async () => (await plan()).counts.moves === 2);
    await drain({ parallel: 4 });
    await hostIs('has moved two', ({ drain }) => drain?.progress.moved === 2);
    const left = microvms.filter(({ id }) => view.microvm(id)!.hostId === emptied.id);
    expect(left).toHaveLength(2);
    const { steps, counts } = await plan();
    expect(counts).toMatchObject({ moves: 0, waitsForRoom: 2 });
    for (const { fate, to, reason } of steps) {
      expect({ fate, to }).toEqual({ fate: 'waitsForRoom', to: null });
      expect(reason).toContain('slots');
    }
    await hostIs('waits for two', ({ state, drain }) => {
      return state === 'draining' && drain?.progress.waiting === 2 && drain.progress.moving === 0;
    });
    for (const { id } of left) expect(view.microvm(id)).toMatchObject({ state: 'running', epoch: 1 });
    const stopped = emptied.commands.filter(({ type }) => type === 'stop').map(({ microvmId }) => microvmId);
    expect(left.filter(({ id }) => stopped.includes(id))).toEqual([]);
    other.slots = 4;
    await drained();
    for (const { id } of left) await running(id, other.id);
  });

  it('waits for those that stay with their host, or stops them when that is ordered', async () => {
    const [kept, crashing] = await createMany(2, { onHostLoss: 'keep', restartPolicy: 'always' });
    const moved = await create();
    await opened(100);
    await drain();
    await running(moved.id, other.id);
    expect(view.microvm(kept!.id)).toMatchObject({ state: 'running', hostId: emptied.id });
    // One ends by itself: its restart policy starts it again, elsewhere.
    emptied.held.get(crashing!.id)!.as = 'ended';
    await emptied.tell(crashing!.id, {
      type: 'exited',
      hostId: emptied.id,
      epoch: 1,
      exit: { reason: 'panic', message: 'panicked', at: Date.now() },
    });
    await running(crashing!.id, other.id);
    expect(host().state).toBe('draining');
    await drain({ kept: 'stop' });
    await drained();
    await plane.reaches(kept!.id, 'stopped');
    await hostIs('has counted', ({ drain }) => drain?.progress.stopped === 1 && drain.progress.waiting === 0);
    expect(host().drain!.progress).toMatchObject({ moved: 1, stopped: 1, waiting: 0 });
  });

  it('can be cancelled at any point: what was not touched stays, what was finishes', async () => {
    const microvms = await createMany(6);
    await opened(100);
    let release: (() => void)[] = [];
    emptied.script = (command) => {
      if (command.type !== 'stop' || release.length >= 100) return 'obey';
      release.push(() => void emptied.obey(command));
      return 'silent';
    };
    await drain({ parallel: 2 });
    await until('two are told to end', () =>
      Promise.resolve(microvms.filter(({ id }) => view.microvm(id)!.state === 'moving').length === 2),
    );
    await cancel();
    expect((await bus.call(planDrain, { hostId: emptied.id })).plan.counts).toMatchObject({ settles: 2 });
    emptied.script = () => 'obey';
    release.forEach((end) => end());
    release = [];
    await until('two have moved', () =>
      Promise.resolve(microvms.filter(({ id }) => view.microvm(id)!.hostId === other.id).length === 2),
    );
    for (const { id } of microvms.filter(({ id }) => view.microvm(id)!.hostId === emptied.id)) {
      expect(view.microvm(id)).toMatchObject({ state: 'running', epoch: 1 });
    }
    await hostIs('is as before', ({ state, drain }) => state === 'ready' && drain === undefined);
    await expect(cancel()).rejects.toMatchObject({ code: 'conflict' });
  });

  it('goes on where it was when the controller is killed in the middle', async () => {
    const microvms = await createMany(12);
    await opened(100);
    await drain({ parallel: 2 });
    await until('some have moved', () =>
      Promise.resolve(microvms.filter(({ id }) => view.microvm(id)!.hostId === other.id).length >= 3),
    );
    await plane.controller.kill();
    await plane.controller.restart();
    await drained();
    for (const { id } of microvms) expect(await running(id, other.id)).toMatchObject({ epoch: 2 });
    await hostIs('has counted', ({ drain }) => drain?.progress.moved === 12);
    const starts = other.commands.filter(({ type }) => type === 'start').map(({ microvmId }) => microvmId);
    expect(new Set(starts).size).toBe(12);
  });

  it('is remembered while the host is away; what was being moved starts elsewhere after the lease', async () => {
    const [moving, waiting] = await createMany(2);
    const kept = await create({ onHostLoss: 'keep' });
    await opened(100);
    emptied.script = ({ type }) => (type === 'stop' ? 'silent' : 'obey');
    await drain({ parallel: 1 });
    await plane.reaches(moving!.id, 'moving');
    emptied.disconnect();
    await hostIs('is away', ({ state }) => state === 'unreachable');
    for (const { id } of [moving!, waiting!]) expect(await running(id, other.id)).toMatchObject({ epoch: 2 });
    // It has fenced itself, as hostd does.
    for (const { id } of [moving!, waiting!]) emptied.held.get(id)!.as = 'ended';
    emptied.script = () => 'obey';
    await emptied.connect();
    await hostIs('is back', ({ state }) => state === 'draining');
    await running(kept.id, emptied.id);
    await bus.call(killMicrovm, { id: kept.id });
    await drained();
  });

  it('shows a plan that changes nothing', async () => {
    await createMany(3, { name: 'web' });
    const kept = await create({ onHostLoss: 'keep' });
    const onDisk = await create({ disks: [{ sizeMiB: 16 }] });
    await opened(100);
    // Only these: the hosts of the tests before leave in their own time.
    const standing = () => [host(), ...view.list({ tenant: `tenant-${names}`, limit: 100 }).items];
    const before = standing();
    const told = await plan({ parallel: 2, graceMs: 4_000, kept: 'stop' });
    expect(told).toMatchObject({ hostId: emptied.id, parallel: 2, graceMs: 4_000, kept: 'stop', omitted: 0 });
    expect(told.counts).toEqual({ moves: 4, waitsForRoom: 0, waitsForItsEnd: 0, stops: 1, settles: 0 });
    const of = (id: string) => told.steps.find(({ microvmId }) => microvmId === id);
    expect(of(kept.id)).toMatchObject({ fate: 'stops', to: null, loses: ['memory'] });
    expect(of(onDisk.id)).toMatchObject({ fate: 'moves', to: other.id, loses: ['memory', 'disks'] });
    expect(told.steps[0]).toMatchObject({ name: 'web', fate: 'moves', to: other.id, loses: ['memory'] });
    expect(told.estimate.mostMs - told.estimate.leastMs).toBe(3 * 4_000);
    expect((await plan()).counts).toMatchObject({ waitsForItsEnd: 1, stops: 0 });
    expect(standing()).toEqual(before);
    expect(host().state).toBe('ready');
    await expect(bus.call(planDrain, { hostId: 'nobody' })).rejects.toMatchObject({ code: 'notFound' });
  });
});
