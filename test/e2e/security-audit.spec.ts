import type { NatsConnection } from 'nats';
import { pino } from 'pino';
import { BusClient, connectNats } from '#bus';
import { openFleetView, type FleetView } from '#fleet';
import {
  createMicrovm,
  deleteMicrovm,
  heartbeat,
  killMicrovm,
  OperationError,
  reportFact,
  startMicrovm,
  type AuditEntry,
  type AuditEvent,
  type Microvm,
  type MicrovmStateName,
} from '#protocol';
import { AuditReader, TenantDirectory } from '#tenancy';
import { describeWithNats, startNatsServer, type NatsServer } from '../support/nats-server';
import { ScriptedHost } from '../support/scripted-host';
import { ServiceProcess } from '../support/service-process';

jest.setTimeout(90_000);

describeWithNats('what should not happen is refused, and written down', () => {
  let server: NatsServer;
  let services: ServiceProcess[];
  let nats: NatsConnection;
  let bus: BusClient;
  let view: FleetView;
  let host: ScriptedHost;
  let reader: AuditReader;
  let tenants: TenantDirectory;

  beforeAll(async () => {
    server = await startNatsServer();
    const env = { VOLLEY_NATS_URL: server.url };
    services = await Promise.all(['controller', 'placement'].map((app) => ServiceProcess.start(app, env)));
    nats = await connectNats({ servers: server.url, name: 'test' });
    bus = new BusClient(nats, pino({ level: 'silent' }));
    view = await openFleetView(nats, {
      onFailure: (error) => expect(error).toBeUndefined(),
      onSkipped: () => undefined,
    });
    host = await ScriptedHost.start(server.url, 'host-a');
    reader = await AuditReader.open(nats);
    tenants = await TenantDirectory.open(nats);
  });
  afterAll(async () => {
    view?.close();
    tenants?.close();
    await host?.close();
    await nats?.close();
    for (const service of services ?? []) await service.kill('SIGTERM');
    await server?.stop();
  });

  async function reaches(id: string, state: MicrovmStateName): Promise<Microvm> {
    const reached = await view.waitForMicrovm(id, (microvm) => microvm.state === state, 20_000);
    if (!reached) throw new Error(`${id} is ${JSON.stringify(view.microvm(id))}\n${services[0]!.log}`);
    return reached;
  }
  const create = (spec: object = {}) =>
    bus.call(createMicrovm, { spec: { image: 'canary', waitSeconds: 30, ...spec } });
  const running = async () => reaches((await create()).microvm.id, 'running');
  const refusal = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'done',
      (error: unknown) => (error instanceof OperationError ? error.code : String(error)),
    );
  async function written(event: AuditEvent): Promise<AuditEntry> {
    for (let tries = 500; ; tries--) {
      const { items } = await reader.read({ from: 0, limit: 100, event });
      if (items[0]) return items.at(-1)!;
      if (tries === 0) throw new Error(`nothing was written down of ${event}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async function removeAll(): Promise<void> {
    for (const { id } of view.list({ tenant: 'acme', limit: 100 }).items) {
      await bus.call(deleteMicrovm, { id });
      await reaches(id, 'deleted');
    }
  }

  it('a fact in the name of another host', async () => {
    const beat = bus.call(heartbeat, { hostId: 'host-a', at: Date.now() }, { values: { hostId: 'host-b' } });
    expect(await refusal(beat)).toBe('forbidden');
    expect(await written('forgedFact')).toMatchObject({
      service: 'controller',
      code: 'forbidden',
      ids: { host: 'host-b', claimedHost: 'host-a' },
    });
  });

  it('a fact of an epoch that is over', async () => {
    const { id } = await running();
    await bus.call(killMicrovm, { id });
    await reaches(id, 'stopped');
    await bus.call(startMicrovm, { id });
    expect(await reaches(id, 'running')).toMatchObject({ epoch: 2 });
    const exit = { reason: 'killed', message: 'long ago', at: Date.now() } as const;
    const fact = { type: 'exited', hostId: 'host-a', epoch: 1, exit } as const;
    const values = { hostId: 'host-a' };
    const answer = await bus.call(reportFact, { factId: 'late', microvmId: id, at: Date.now(), fact }, { values });
    expect(answer).toEqual({ recorded: false });
    expect(await written('staleEpoch')).toMatchObject({ ids: { host: 'host-a', microvm: id } });
    expect(view.microvm(id)!.state).toBe('running');
  });

  it('a command that is played again', async () => {
    const { id } = await running();
    await bus.call(killMicrovm, { id, commandId: 'kill-once', by: 'ci' });
    await reaches(id, 'stopped');
    await bus.call(startMicrovm, { id });
    await reaches(id, 'running');
    const { revision } = view.microvm(id)!;
    await bus.call(killMicrovm, { id, commandId: 'kill-once', by: 'thief' });
    expect(await written('replayedCommand')).toMatchObject({
      name: 'thief',
      ids: { microvm: id, command: 'kill-once' },
    });
    expect(view.microvm(id)).toMatchObject({ state: 'running', revision });
  });

  it('more than a quota, by however many creates at once', async () => {
    const owner = { quotas: { microvms: 5, memoryMiB: 100 }, coresidency: { mode: 'shared' as const, neverWith: [] } };
    await tenants.put('acme', owner);
    // A change acts within moments; the audit of nothing says when, so it is asked until it holds.
    const probe = { spec: { image: 'canary', tenant: 'acme', memoryMiB: 101 } } as const;
    const refusals: string[] = [];
    while (refusals.length < 100 && refusals.at(-1) !== 'refused') {
      refusals.push(await refusal(bus.call(createMicrovm, probe)));
      await removeAll();
    }
    await removeAll();
    const many = await Promise.all(
      Array.from({ length: 30 }, () => refusal(create({ tenant: 'acme', memoryMiB: 16 }))),
    );
    expect(many.filter((one) => one === 'done')).toHaveLength(5);
    expect(many.filter((one) => one === 'refused')).toHaveLength(25);
    expect(view.list({ tenant: 'acme', limit: 100 }).items).toHaveLength(5);
  });
});
