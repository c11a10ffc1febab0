import type { BusClient } from '#bus';
import type { FleetView } from '#fleet';
import {
  createMicrovm,
  deleteMicrovm,
  heartbeat,
  killMicrovm,
  OperationError,
  reportFact,
  reportStaleCommand,
  startMicrovm,
  type AuditEntry,
  type AuditEvent,
  type MicrovmSpecInput,
  type MicrovmStateName,
} from '#protocol';
import { AuditReader, TenantDirectory } from '#tenancy';
import { ControlPlane } from '../support/control-plane';
import { describeWithNats } from '../support/nats-server';

jest.setTimeout(90_000);

describeWithNats('what should not happen is refused, and written down', () => {
  let plane: ControlPlane;
  let bus: BusClient;
  let view: FleetView;
  let reader: AuditReader;
  let tenants: TenantDirectory;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    ({ bus, view } = plane);
    await plane.host('host-a');
    reader = await AuditReader.open(plane.nats);
    tenants = await TenantDirectory.open(plane.nats);
  });
  afterAll(async () => {
    tenants?.close();
    await plane?.stop();
  });

  const reaches = (id: string, state: MicrovmStateName) => plane.reaches(id, state);
  const create = (spec: Partial<MicrovmSpecInput> = {}) => plane.create({ waitSeconds: 30, ...spec });
  const running = () => plane.running({ waitSeconds: 30 });
  const refusal = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'done',
      (error: unknown) => (error instanceof OperationError ? error.code : String(error)),
    );
  async function written(event: AuditEvent, isIt: (entry: AuditEntry) => boolean = () => true): Promise<AuditEntry> {
    for (let tries = 500; ; tries--) {
      const { items } = await reader.read({ from: 0, limit: 100, event });
      const found = items.findLast(isIt);
      if (found) return found;
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

  it('an order of an epoch that is over, which only its host knows of', async () => {
    const { id } = await running();
    const told = { microvmId: id, epoch: 1, commandId: 'stolen', type: 'start', seenEpoch: 2 };
    await bus.call(reportStaleCommand, told, { values: { hostId: 'host-a' } });
    expect(await written('staleEpoch', ({ ids }) => ids?.['command'] === 'stolen')).toMatchObject({
      service: 'controller',
      code: 'refused',
      ids: { host: 'host-a', microvm: id },
      detail: 'the host was ordered to start epoch 1, which is over: it has seen epoch 2',
    });
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
