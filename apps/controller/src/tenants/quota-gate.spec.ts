import type { NatsConnection } from 'nats';
import pino from 'pino';
import { connectNats } from '#bus';
import { JournalUnavailableError } from '#journal';
import { decideCommand, decideEvents } from '#lifecycle';
import { MicrovmSpec, OperationError, type MicrovmEvent, type Quotas } from '#protocol';
import { TenantDirectory } from '#tenancy';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { MicrovmHistories } from '../histories/microvm-histories';
import { QuotaGate } from './quota-gate';
import { Tenants } from './tenants';

const WHO = { cause: { kind: 'operator', by: 'test' } } as const;
const spec = MicrovmSpec.parse({ image: 'canary', tenant: 'acme', vcpus: 2, memoryMiB: 64 });

describeWithNats('QuotaGate', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let histories: MicrovmHistories;
  let tenants: Tenants;
  let directory: TenantDirectory;
  let gate: QuotaGate;
  let shutdown: AbortController;
  let count = 0;

  beforeEach(async () => {
    server = await startNatsServer();
    nc = await connectNats({ servers: server.url, name: 'quota-gate' });
    directory = await TenantDirectory.open(nc);
    shutdown = new AbortController();
    await open();
  });
  afterEach(async () => {
    shutdown.abort();
    histories.onModuleDestroy();
    tenants.onModuleDestroy();
    directory.close();
    await nc.close();
    await server.stop();
  });

  /** As a controller that starts does. */
  async function open(): Promise<void> {
    const logger = pino({ level: 'silent' });
    histories = new MicrovmHistories(nc, logger);
    tenants = new Tenants(nc, logger);
    gate = new QuotaGate(tenants, histories, logger, shutdown.signal);
    await Promise.all([histories.onModuleInit(), tenants.onModuleInit()]);
  }

  async function quotas(bounds: Quotas): Promise<void> {
    await directory.put('acme', { quotas: bounds, coresidency: { mode: 'shared', neverWith: [] } });
    while (JSON.stringify(tenants.get('acme')?.quotas) !== JSON.stringify(bounds)) await nc.flush();
  }

  const newId = () => `01hzzzzzzzzzzzzzzzzzzz${String(++count).padStart(4, '0')}`;

  async function create(id = newId()): Promise<string> {
    return gate.create(id, spec, async () => {
      await histories.decide(id, { commandId: `create.${id}`, ...WHO }, (life, occasion) =>
        life
          ? { kind: 'nothing' }
          : decideEvents(
              null,
              [{ type: 'requested', spec, requestedAt: Date.now(), specHash: 'x' }, { type: 'placementStarted' }],
              occasion,
            ),
      );
      return id;
    });
  }

  const happens = (id: string, ...events: MicrovmEvent[]) =>
    histories.record(id, { commandId: `happens.${++count}`, ...WHO }, events);
  const command = (id: string, command: Parameters<typeof decideCommand>[1]) =>
    histories.decide(id, { commandId: `command.${++count}`, ...WHO }, (life, occasion) =>
      decideCommand(life!, command, occasion),
    );
  const start = (id: string) => gate.start(id, () => command(id, { type: 'start', requestedAt: Date.now() }));
  /** Stops it before it was placed. */
  const stop = (id: string) => command(id, { type: 'stop', timeoutMs: 0 });

  const outcomes = async (work: Promise<unknown>[]): Promise<Record<string, number>> => {
    const counts: Record<string, number> = {};
    for (const one of await Promise.allSettled(work)) {
      const name = one.status === 'fulfilled' ? 'done' : (one.reason as OperationError).code;
      counts[name] = (counts[name] ?? 0) + 1;
    }
    return counts;
  };

  it('lets exactly as many creates at once pass as there is room for', async () => {
    await quotas({ microvms: 10 });
    expect(await outcomes(Array.from({ length: 40 }, () => create()))).toEqual({ done: 10, refused: 30 });
    expect(histories.index.size).toBe(10);
    expect(gate.held('acme')).toEqual({ microvms: 10, vcpus: 20, memoryMiB: 640 });
    await expect(create()).rejects.toMatchObject({
      code: 'refused',
      message: expect.stringContaining('10 of 10 are in use, 1 more were asked for') as string,
      details: [{ path: 'quotas.microvms' }],
    });
  });

  it('counts vCPUs and memory of what holds or wants a host, and microVMs until they are deleted', async () => {
    await quotas({ microvms: 3, vcpus: 4, memoryMiB: 128 });
    const [one, two] = await Promise.all([create(), create()]);
    expect(await outcomes([create()])).toEqual({ refused: 1 });
    await stop(one);
    expect(gate.held('acme')).toEqual({ microvms: 2, vcpus: 2, memoryMiB: 64 });
    await create();
    // The vCPUs that it had are in use by another one.
    expect(await outcomes([start(one)])).toEqual({ refused: 1 });
    await command(two, { type: 'delete' });
    expect(gate.held('acme').microvms).toBe(2);
    expect(await outcomes([start(one)])).toEqual({ done: 1 });
    expect(gate.held('acme')).toEqual({ microvms: 2, vcpus: 4, memoryMiB: 128 });
  });

  it('lets exactly as many starts at once pass as there is room for, and none count twice', async () => {
    const ids = await Promise.all(Array.from({ length: 6 }, () => create()));
    await Promise.all(ids.map(stop));
    await quotas({ vcpus: 6 });
    expect(await outcomes(ids.map(start))).toEqual({ done: 3, refused: 3 });
    expect(gate.held('acme').vcpus).toBe(6);
  });

  it('counts a create that is sent again once, and a refused one not at all', async () => {
    await quotas({ microvms: 1 });
    const id = newId();
    expect(await outcomes([create(id), create(id), create(id)])).toEqual({ done: 3 });
    expect(await outcomes([create(id), create()])).toEqual({ done: 1, refused: 1 });
    expect(gate.held('acme').microvms).toBe(1);
    await expect(
      gate.create(newId(), { ...spec, tenant: 'other' }, () => Promise.reject(new Error('no'))),
    ).rejects.toThrow('no');
    expect(gate.held('other').microvms).toBe(0);
  });

  it('bounds creates per second, says when there is room again, and leaves other tenants alone', async () => {
    await quotas({ createsPerSecond: 0.001 });
    await create();
    await expect(create()).rejects.toMatchObject({ code: 'overloaded', retryAfterMs: expect.any(Number) as number });
    await gate.create(newId(), { ...spec, tenant: 'other' }, () => Promise.resolve());
  });

  it('knows what is held after a start of the controller, and follows what others record', async () => {
    await quotas({ microvms: 2 });
    await create();
    const elsewhere = { histories, tenants };
    await open();
    expect(gate.held('acme').microvms).toBe(1);
    await create();
    expect(await outcomes([create()])).toEqual({ refused: 1 });
    elsewhere.histories.onModuleDestroy();
    elsewhere.tenants.onModuleDestroy();
  });

  it('holds a reservation as long as nobody knows whether the record was written', async () => {
    await quotas({ microvms: 1 });
    const lost = newId();
    await expect(
      gate.create(lost, spec, () => Promise.reject(new JournalUnavailableError('no answer', 'unknown'))),
    ).rejects.toThrow('no answer');
    expect(gate.held('acme').microvms).toBe(1);
    expect(await outcomes([create()])).toEqual({ refused: 1 });
    while (gate.held('acme').microvms > 0) await nc.flush(); // its history is read: there is none
    expect(await outcomes([create()])).toEqual({ done: 1 });
  });

  it('does not mistake what a history said before for the outcome of a start', async () => {
    const id = await create();
    await stop(id);
    await quotas({ vcpus: 2 });
    let finish!: () => void;
    const under = gate.start(id, () => new Promise<void>((resolve) => (finish = resolve)));
    await new Promise((resolve) => setImmediate(resolve));
    await happens(id, { type: 'deadlinePassed', timer: 'review' });
    expect(gate.held('acme').vcpus).toBe(2);
    finish();
    await under;
    expect(gate.held('acme').vcpus).toBe(0);
  });
});
