import type { BusClient } from '#bus';
import type { FleetView } from '#fleet';
import {
  deleteMicrovm,
  dryRunPlacement,
  MicrovmSpec,
  OperationError,
  placementOf,
  type MicrovmSpecInput,
} from '#protocol';
import { TenantDirectory } from '#tenancy';
import { ControlPlane } from '../support/control-plane';
import { until } from '../support/fleet';
import { describeWithNats } from '../support/nats-server';
import type { ScriptedHost } from '../support/scripted-host';
import { ServiceProcess } from '../support/service-process';

jest.setTimeout(90_000);

describeWithNats('placement, with scripted hosts', () => {
  let plane: ControlPlane;
  let bus: BusClient;
  let view: FleetView;
  let a: ScriptedHost;
  let b: ScriptedHost;

  beforeAll(async () => {
    plane = await ControlPlane.start({
      before: async (nats) => {
        const tenants = await TenantDirectory.open(nats);
        await tenants.put('acme', { quotas: {}, coresidency: { mode: 'shared', neverWith: ['rival'] } });
        tenants.close();
      },
    });
    ({ bus, view } = plane);
    a = await plane.host('host-a', { labels: { zone: 'east' } });
    b = await plane.host('host-b', { labels: { zone: 'west' } });
  });

  afterAll(() => plane?.stop());

  afterEach(async () => {
    const { items } = view.list({ limit: 1_000 });
    await Promise.all(items.map(({ id }) => bus.call(deleteMicrovm, { id })));
    await Promise.all(items.map(({ id }) => reaches(id, 'deleted')));
    expect(plane.skipped).toEqual([]);
  });

  /** From its next report on, a host has room for so many more. Resolves when placement knows. */
  async function room(host: ScriptedHost, more: number): Promise<void> {
    host.slots = [...host.held.values()].filter(({ as }) => as !== 'ended').length + more;
    const only = host === a ? 'host-b' : 'host-a';
    await until('placement knows', async () => (await dryRun({}, more + 1, [only])).filter(Boolean).length === more);
  }

  async function dryRun(spec: Partial<MicrovmSpecInput>, count: number, excluded: string[] = []) {
    const placements = [{ spec: MicrovmSpec.parse({ image: 'canary', ...spec }), count }];
    const { receipts } = await bus.call(dryRunPlacement, { placements, excluded });
    return receipts.map(({ hostId }) => hostId);
  }

  const create = async (spec?: Partial<MicrovmSpecInput>) => (await plane.create(spec)).id;
  const reaches: ControlPlane['reaches'] = (...what) => plane.reaches(...what);
  const waits = (id: string) => reaches(id, ({ state, reason }) => state === 'placing' && reason !== null);
  const runs = (id: string) => reaches(id, 'running');
  const running = (spec?: Partial<MicrovmSpecInput>) => plane.running(spec);
  const started = (id: string) => [a, b].flatMap((host) => host.startsOf(id));

  it('keeps a create waiting while the fleet is full, says why, and places it when a host has room', async () => {
    await Promise.all([room(a, 0), room(b, 0)]);
    const id = await create();
    expect((await waits(id)).reason).toContain('none of 2 hosts passes; failed filters: slots (2)');
    const { receipts } = await bus.call(placementOf, { microvmId: id });
    expect(receipts).toMatchObject([{ hostId: null, hosts: [{ verdict: 'filtered' }, { verdict: 'filtered' }] }]);
    b.slots += 1;
    expect(await runs(id)).toMatchObject({ hostId: 'host-b', reason: null, epoch: 1 });
    const after = await bus.call(placementOf, { microvmId: id });
    expect(after.receipts.map(({ hostId }) => hostId)).toEqual([null, 'host-b']);
    const [only] = (await bus.call(placementOf, { microvmId: id, receiptId: after.receipts[1]!.id })).receipts;
    expect(only).toEqual(after.receipts[1]);
  });

  it('lets a flood of one tenant delay another one by a turn only', async () => {
    await Promise.all([room(a, 0), room(b, 0)]);
    const first = await create({ tenant: 'flood', waitSeconds: 60 });
    await waits(first);
    const flood = await Promise.all(Array.from({ length: 30 }, () => create({ tenant: 'flood', waitSeconds: 60 })));
    await Promise.all(flood.map(waits));
    const quiet = await create({ tenant: 'quiet', waitSeconds: 60 });
    await waits(quiet);
    a.slots += 2;
    await runs(quiet);
    await runs(first);
    expect(flood.filter((id) => started(id).length > 0)).toEqual([]);
  });

  it.each<[string, Partial<MicrovmSpecInput>, string]>([
    ['when its time is over', { waitSeconds: 1 }, 'no host could take it within 1 s: none of 2 hosts passes'],
    ['at once when it does not wait', { waitSeconds: 0 }, 'none of 2 hosts passes; failed filters: slots (2)'],
    ['at once when no host could ever take it', { placement: { hostLabels: { zone: 'moon' } } }, 'hostLabels (2)'],
  ])('fails %s, with the reason', async (_, spec, reason) => {
    await Promise.all([room(a, 0), room(b, 0)]);
    const failed = await reaches(await create(spec), 'failed');
    expect(failed.reason).toContain(reason);
  });

  it('does not start what was deleted while it waited', async () => {
    await Promise.all([room(a, 0), room(b, 0)]);
    const id = await create();
    await waits(id);
    await bus.call(deleteMicrovm, { id });
    await reaches(id, 'deleted');
    a.slots += 3;
    await running();
    expect(started(id)).toEqual([]);
  });

  it('gives up the turn of what was deleted while it waited, and keeps no place for it', async () => {
    await Promise.all([room(a, 0), room(b, 0)]);
    const id = await create({ waitSeconds: 60 });
    await waits(id);
    // It waits less long than a place is kept for whom nobody wants.
    const next = await create({ waitSeconds: 8 });
    await waits(next);
    await bus.call(deleteMicrovm, { id });
    await reaches(id, 'deleted');
    a.slots += 1;
    await runs(next);
    expect(started(id)).toEqual([]);
  });

  it('goes on waiting when placement or the controller dies, and is placed once', async () => {
    await Promise.all([room(a, 0), room(b, 0)]);
    const ids = await Promise.all([create({ waitSeconds: 120 }), create({ waitSeconds: 120 })]);
    await Promise.all(ids.map(waits));
    await plane.placement.kill();
    await plane.placement.restart();
    await plane.controller.kill();
    await plane.controller.restart();
    a.slots += 2;
    await Promise.all(ids.map(runs));
    for (const id of ids) expect(started(id)).toEqual([1]);
  });

  it('is not disturbed by a second placement service that knows nothing of the first', async () => {
    await Promise.all([room(a, 0), room(b, 0)]);
    const second = await ServiceProcess.start('placement', { VOLLEY_NATS_URL: plane.server.url });
    try {
      const ids = await Promise.all(Array.from({ length: 10 }, () => create({ waitSeconds: 120 })));
      await Promise.all(ids.map(waits));
      a.slots += 5;
      b.slots += 5;
      await Promise.all(ids.map(runs));
      // Both may have chosen the same room; a host takes what it has room for, and the rest is chosen again.
      for (const id of ids) expect([a, b].filter(({ held }) => held.get(id)?.as === 'running')).toHaveLength(1);
      expect([a.held.size, b.held.size]).toEqual([5, 5]);
      const { receipts } = await bus.call(placementOf, { microvmId: ids[0]! });
      expect(receipts.at(-1)!.hostId).toBe(view.microvm(ids[0]!)!.hostId);
    } finally {
      await second.kill('SIGTERM');
    }
  });

  it('shows in a dry run what would happen, and changes nothing', async () => {
    await Promise.all([room(a, 2), room(b, 1)]);
    for (let twice = 0; twice < 2; twice++) {
      const places = await dryRun({}, 4);
      expect([...places].sort()).toEqual(['host-a', 'host-a', 'host-b', null].sort());
      expect(places[3]).toBeNull();
    }
    expect(await dryRun({}, 2, ['host-a'])).toEqual(['host-b', null]);
    const spec = MicrovmSpec.parse({ image: 'canary', placement: { antiAffinity: ['app'] } });
    await expect(bus.call(dryRunPlacement, { placements: [{ spec }] })).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('app') as string,
    } satisfies Partial<OperationError>);
  });

  it('keeps to the rules of a microVM: labels of hosts, apart, and together', async () => {
    await Promise.all([room(a, 5), room(b, 5)]);
    expect(await running({ placement: { hostLabels: { zone: 'west' } } })).toMatchObject({ hostId: 'host-b' });
    const apart: Partial<MicrovmSpecInput> = { labels: { app: 'web' }, placement: { antiAffinity: ['app'] } };
    expect([...(await dryRun(apart, 3))].sort()).toEqual(['host-a', 'host-b', null].sort());
    const together: Partial<MicrovmSpecInput> = { labels: { app: 'web' }, placement: { affinity: ['app'] } };
    expect(new Set(await dryRun(together, 4)).size).toBe(1);
  });

  it('keeps tenants apart who may not share a host, and tells neither whom from', async () => {
    await Promise.all([room(a, 5), room(b, 5)]);
    const acme = await running({ tenant: 'acme', placement: { hostLabels: { zone: 'east' } } });
    expect(a.commands.find(({ type, microvmId }) => type === 'start' && microvmId === acme.id)).toMatchObject({
      coresidency: { mode: 'shared', neverWith: ['rival'] },
    });
    const rivals = await Promise.all(Array.from({ length: 4 }, () => running({ tenant: 'rival' })));
    expect(new Set(rivals.map(({ hostId }) => hostId))).toEqual(new Set(['host-b']));
    const refused = await create({ tenant: 'rival', placement: { hostLabels: { zone: 'east' } } });
    await waits(refused);
    const { receipts } = await bus.call(placementOf, { microvmId: refused });
    expect(receipts.at(-1)!.hosts[0]!.filters).toContainEqual({
      name: 'coresidency',
      passed: false,
      detail: 'may not be shared',
    });
    expect(JSON.stringify([view.microvm(refused), receipts])).not.toContain('acme');
    await bus.call(deleteMicrovm, { id: acme.id });
    expect(await runs(refused)).toMatchObject({ hostId: 'host-a' });
  });
});
