import type { BusClient } from '#bus';
import type { FleetView } from '#fleet';
import {
  createMicrovm,
  listHosts,
  listMicrovms,
  stopMicrovm,
  pauseMicrovm,
  deleteMicrovm,
  SHARED,
  type Microvm,
  type MicrovmSpecInput,
} from '#protocol';
import { TenantDirectory } from '#tenancy';
import { ControlPlane } from '../support/control-plane';
import { until } from '../support/fleet';
import { describeWithNats } from '../support/nats-server';
import type { ScriptedHost } from '../support/scripted-host';
import type { ServiceProcess } from '../support/service-process';

jest.setTimeout(120_000);

const TAKE_OVER_MS = 20_000;

describeWithNats('two controllers', () => {
  let plane: ControlPlane;
  let first: ServiceProcess;
  let second: ServiceProcess;
  let bus: BusClient;
  let view: FleetView;
  let host: ScriptedHost;

  const create = (spec: Partial<MicrovmSpecInput> = {}) => plane.create({ memoryMiB: 4, ...spec });
  const createMany = (count: number, spec?: Partial<MicrovmSpecInput>) =>
    Promise.all(Array.from({ length: count }, () => create(spec)));
  /** As the gateway does, beside a controller that is gone or frozen: what got no answer is sent to all, under the same key. */
  const createPatiently = (count: number, key: string) =>
    Promise.all(
      Array.from({ length: count }, (_, n) =>
        bus
          .call(
            createMicrovm,
            { spec: { image: 'canary', memoryMiB: 4 }, idempotencyKey: `${key}-${n}` },
            { deadlineMs: 20_000, repeatAfterMs: 1_000 },
          )
          .then(({ microvm }) => microvm),
      ),
    );
  const reach = async (microvms: readonly Microvm[], state: Microvm['state']): Promise<void> => {
    const missed: Microvm[] = [];
    await Promise.all(
      microvms.map(async ({ id }) => {
        const reached = await view.waitForMicrovm(id, (one) => one.state === state, TAKE_OVER_MS);
        if (!reached) missed.push(view.microvm(id)!);
      }),
    );
    expect(missed).toEqual([]);
  };

  beforeAll(async () => {
    const natsConfig = 'ping_interval: "1s"\nping_max: 2';
    plane = await ControlPlane.start({ natsConfig, controllers: ['first', 'second'] });
    ({ bus, view } = plane);
    [first, second] = plane.controllers as [ServiceProcess, ServiceProcess];
    host = await plane.host('host-a');
    await until('the host takes microVMs', async () => {
      const { id } = await create();
      return (await view.waitForMicrovm(id, ({ state }) => state === 'running', 1_000)) !== undefined;
    });
  });

  afterAll(() => plane?.stop());

  beforeEach(() => {
    host.script = () => 'obey';
  });

  afterEach(async () => {
    expect(await plane.violations()).toEqual([]);
    expect(plane.skipped).toEqual([]);
  });

  it('bring microVMs up together, each start asked for once and by one of them', async () => {
    const microvms = await createMany(60);
    await reach(microvms, 'running');
    for (const { id } of microvms) expect([id, host.startsOf(id), host.askersOf(id)]).toEqual([id, [1], 1]);
    const owned = () => [first, second].map(({ log }) => Number([...log.matchAll(/"owned":(\d+)/g)].at(-1)?.[1]));
    await until('they own everything between them', () => Promise.resolve(owned()[0]! + owned()[1]! === 64));
    expect(Math.min(...owned())).toBeGreaterThan(10);
  });

  it('take any command for any microVM, and let one of two that contradict each other win', async () => {
    const microvms = await createMany(20);
    await reach(microvms, 'running');
    // Sent together, so that often each of two controllers has one in hand.
    const outcomes = await Promise.all(
      microvms.map(({ id }) =>
        Promise.allSettled([bus.call(pauseMicrovm, { id }), bus.call(stopMicrovm, { id, timeoutMs: 1_000 })]),
      ),
    );
    for (const [pause, stop] of outcomes) {
      expect(stop.status).toBe('fulfilled');
      if (pause.status === 'rejected') expect(pause.reason).toMatchObject({ code: 'conflict' });
    }
    await reach(microvms, 'stopped');
  });

  it('count what a tenant with quotas has as one', async () => {
    const directory = await TenantDirectory.open(plane.nats);
    await directory.put('counted', { quotas: { microvms: 15 }, coresidency: SHARED });
    directory.close();
    const outcomes = async (count: number) => {
      const all = await Promise.allSettled(Array.from({ length: count }, () => create({ tenant: 'counted' })));
      return all.filter(({ status }) => status === 'fulfilled').length;
    };
    // Each controller hears of the tenant by itself; from then on one of them counts.
    let made = 0;
    await until('the quota is in force', async () => {
      made += await outcomes(4);
      return made % 4 !== 0 || made > 15;
    });
    expect(made).toBe(15);
    const { items } = await bus.call(listMicrovms, { tenant: 'counted' });
    expect(items).toHaveLength(15);
    for (const { id } of items.slice(0, 5)) await bus.call(deleteMicrovm, { id });
    await reach(items.slice(0, 5), 'deleted');
    expect(await outcomes(40)).toBe(5);
  });

  it('take over from one that is killed in the middle of its work', async () => {
    const silenced = new Set<string>();
    host.script = ({ type, microvmId }) =>
      type === 'start' && !silenced.has(microvmId) ? (silenced.add(microvmId), 'silent') : 'obey';
    const microvms = await createMany(40);
    await until('some starts are on their way', async () => silenced.size > 10);
    await second.kill('SIGKILL');
    try {
      // Until the server of NATS sees that it is gone, it hands requests to it.
      const later = await createPatiently(10, 'later');
      await reach([...microvms, ...later], 'running');
    } finally {
      await second.restart();
    }
  });

  it('go on while one is frozen, which does no harm when it wakes', async () => {
    const before = await createMany(10, { ttlSeconds: 6 });
    process.kill(first.pid, 'SIGSTOP');
    try {
      // NATS goes on to hand the frozen one every other request: who is sent messages counts as active and is not pinged. What is repeated
      // goes to both, under the same key, so nothing doubles.
      const microvms = await createPatiently(20, 'frozen');
      await reach(microvms, 'running');
      await reach(before, 'deleted'); // their timers too
      process.kill(first.pid, 'SIGCONT');
      // It knows that it holds nothing, turns away what waited for it, and takes part again.
      await until('the frozen one is back', async () => /"owned":0,[^]*"gained":[1-9]/.test(first.log));
      await reach(await createMany(20), 'running');
      for (const { id } of microvms) expect(host.startsOf(id)).toEqual([1]);
    } finally {
      process.kill(first.pid, 'SIGCONT');
    }
  });

  it('notice that a host is gone when its controller goes with it', async () => {
    const other = await plane.host('host-b');
    await until('the other host is ready', async () =>
      (await bus.call(listHosts, {})).items.some(({ id, state }) => id === 'host-b' && state === 'ready'),
    );
    other.disconnect();
    await first.kill('SIGKILL');
    await until(
      'the other host is unreachable',
      async () => (await bus.call(listHosts, {})).items.find(({ id }) => id === 'host-b')?.state === 'unreachable',
      TAKE_OVER_MS,
    );
    // And only that one.
    expect((await bus.call(listHosts, {})).items.find(({ id }) => id === 'host-a')?.state).toBe('ready');
    await first.restart();
  });

  it('leave without a gap', async () => {
    const microvms = await createMany(10);
    await second.kill('SIGTERM');
    await until('the other one owns everything', () => Promise.resolve(first.log.includes('"owned":64')));
    await reach(microvms, 'running');
    for (const { id } of microvms) await bus.call(deleteMicrovm, { id });
    await reach(microvms, 'deleted');
    await second.restart();
  });
});
