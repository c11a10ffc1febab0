import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { BusClient, connectNats } from '#bus';
import { checkHistories, readHistories, scanVmms } from '#chaos';
import {
  createMicrovm,
  deleteMicrovm,
  getMicrovm,
  microvmHistoryOf,
  MICROVM_STREAM,
  protectMicrovm,
  type Microvm,
  type MicrovmSpecInput,
  type MicrovmStateName,
} from '#protocol';
import { until } from '../support/fleet';
import { itWithKvm, makeTmpfsDirectory } from '../support/kvm';
import { startNatsServer, type NatsServer } from '../support/nats-server';
import { ServiceProcess } from '../support/service-process';
import { describeWithAnyVmm } from '../support/vmm-here';
import type { NatsConnection } from 'nats';

jest.setTimeout(120_000);

/** A control plane and a host with real microVMs, each a process of its own that dies when a test says so. */
describeWithAnyVmm('policies on a real host', (vmm) => {
  let server: NatsServer;
  let controller: ServiceProcess;
  let placement: ServiceProcess;
  let hostd: ServiceProcess;
  let nats: NatsConnection;
  let bus: BusClient;
  let runDir: ReturnType<typeof makeTmpfsDirectory>;
  let hostDir: string;
  const persist = { repeatAfterMs: 1_000, deadlineMs: 20_000 };

  const connect = async (): Promise<void> => {
    nats = await connectNats({ servers: server.url, name: 'test' });
    bus = new BusClient(nats, pino({ level: 'silent' }));
  };
  const get = async (id: string): Promise<Microvm> => (await bus.call(getMicrovm, { id }, persist)).microvm;
  const reaches = async (id: string, state: MicrovmStateName): Promise<Microvm> => {
    await until(`${id} is ${state}`, async () => (await get(id)).state === state, 40_000);
    return get(id);
  };
  const running = async (more: Partial<MicrovmSpecInput>): Promise<Microvm> => {
    const spec = { image: 'canary', memoryMiB: 8, ...more };
    const { microvm } = await bus.call(createMicrovm, { spec }, persist);
    return reaches(microvm.id, 'running');
  };
  /** Found by looking at the machine alone. */
  const isAlive = (id: string): boolean => scanVmms(runDir.path).some(({ microvmId }) => microvmId === id);
  const ends = (id: string): Promise<void> => until(`${id} ends`, () => Promise.resolve(!isAlive(id)), 40_000);
  const eventsOf = async (id: string): Promise<string[]> => {
    const { entries } = await bus.call(microvmHistoryOf, { id }, persist);
    return entries.flatMap(({ events }) => events.map(({ type }) => type));
  };

  beforeAll(async () => {
    runDir = makeTmpfsDirectory();
    hostDir = mkdtempSync(join(tmpdir(), 'volley-policies-'));
    server = await startNatsServer();
    const env = { VOLLEY_NATS_URL: server.url };
    [controller, placement, hostd] = await Promise.all([
      ServiceProcess.start('controller', { ...env, VOLLEY_CONTROLLER_ID: 'one' }),
      ServiceProcess.start('placement', env),
      ServiceProcess.start('hostd', {
        ...env,
        VOLLEY_HOST_ID: 'real',
        VOLLEY_HOST_DIR: hostDir,
        VOLLEY_RUN_DIR: runDir.path,
        VOLLEY_NETWORK: 'off',
        VOLLEY_VMM: vmm,
        VOLLEY_REPORT_INTERVAL_MS: '200',
        VOLLEY_SAMPLE_INTERVAL_MS: '400',
      }),
    ]);
    await connect();
  });
  afterAll(async () => {
    if (nats && !nats.isClosed()) {
      const { violations } = checkHistories(await readHistories(nats, MICROVM_STREAM.name));
      expect(violations).toEqual([]);
    }
    await nats?.close();
    for (const service of [hostd, controller, placement]) await service?.kill('SIGKILL');
    for (const { pid } of scanVmms(runDir.path)) process.kill(pid, 'SIGKILL');
    await server?.stop();
    runDir.remove();
    rmSync(hostDir, { recursive: true, force: true });
  });

  it('a time to live ends a microVM while NATS and all controllers are dead, and the history agrees afterwards', async () => {
    const other = await running({});
    // Long enough for both to be dead before it.
    const mortal = await running({ ttlSeconds: 10, restartPolicy: 'always' });
    await controller.kill();
    await nats.close();
    await server.kill9();
    expect(isAlive(mortal.id)).toBe(true);
    await ends(mortal.id);
    expect(isAlive(other.id)).toBe(true);

    await server.restart();
    await controller.restart();
    await connect();
    const gone = await reaches(mortal.id, 'deleted');
    expect(gone.reason).toBe('its time to live is over');
    const at = Date.parse(gone.createdAt);
    // The host did not wait for anybody.
    if (gone.exit) expect(gone.exit).toMatchObject({ reason: 'expired' });
    expect(Date.parse(gone.updatedAt)).toBeGreaterThanOrEqual(at + 10_000);
    await reaches(other.id, 'running');
    await bus.call(deleteMicrovm, { id: other.id }, persist);
  });

  it('a time to live that runs out while the agent is dead is over when it is back, before NATS is', async () => {
    const mortal = await running({ ttlSeconds: 8 });
    await hostd.kill();
    await nats.close();
    await server.kill9();
    const over = Date.parse(mortal.createdAt) + 8_000;
    await until('its time is over', () => Promise.resolve(Date.now() > over));
    expect(isAlive(mortal.id)).toBe(true);
    // It is not ready without NATS, but it looks after what it has.
    const back = hostd.restart();
    await ends(mortal.id);
    await server.restart();
    await back;
    await connect();
    await reaches(mortal.id, 'deleted');
  });

  it('protection lets a microVM outlive its time, and lifting it ends it', async () => {
    // Protected from its birth: however long the start takes, its time is not over before it is protected.
    const kept = await running({ ttlSeconds: 3, deleteProtection: true });
    const { microvm } = await bus.call(protectMicrovm, { id: kept.id, enabled: true }, persist);
    expect(microvm.deleteProtection).toBe(true);
    const over = Date.parse(kept.createdAt) + 3_500;
    await until('its time is over', () => Promise.resolve(Date.now() > over));
    expect((await get(kept.id)).state).toBe('running');
    expect(isAlive(kept.id)).toBe(true);
    await expect(bus.call(deleteMicrovm, { id: kept.id })).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('lift the protection first') as string,
    });
    await bus.call(protectMicrovm, { id: kept.id, enabled: false }, persist);
    expect((await reaches(kept.id, 'deleted')).reason).toBe('its time to live is over');
    expect(isAlive(kept.id)).toBe(false);
  });

  // What is used is a guest.
  itWithKvm('one that nobody uses is stopped in order, without controllers, and stays stopped', async () => {
    const idle = await running({ idleStop: { afterSeconds: 5, cpuPercent: 5 }, restartPolicy: 'always' });
    const busy = await running({ idleStop: { afterSeconds: 5, cpuPercent: 5 }, cmdline: 'burn=90' });
    await controller.kill();
    await ends(idle.id);
    expect(isAlive(busy.id)).toBe(true);
    await controller.restart();
    const stopped = await reaches(idle.id, 'stopped');
    expect(stopped.exit).toMatchObject({
      reason: 'idle',
      message: 'stopped because it had used less than 5 % of a CPU for 5 s and nobody was connected',
    });
    expect(await eventsOf(idle.id)).not.toContain('stopRequested');
    for (const { id } of [idle, busy]) await bus.call(deleteMicrovm, { id }, persist);
  });

  it('a scheduled stop that was due while no controller lived is made up for once', async () => {
    // Its controller is to die before the minute is over.
    await until('a minute has begun', () => Promise.resolve(Date.now() % 60_000 < 40_000));
    const nightly = await running({ schedule: { start: '0 0 1 1 *', stop: '* * * * *' } });
    await controller.kill();
    const due = Math.floor(nightly.timings.acceptedAt / 60_000 + 1) * 60_000;
    await until('the minute is over', () => Promise.resolve(Date.now() > due), 65_000);
    expect(isAlive(nightly.id)).toBe(true);
    await controller.restart();
    await reaches(nightly.id, 'stopped');
    const { entries } = await bus.call(microvmHistoryOf, { id: nightly.id }, persist);
    const fired = entries.filter(({ events }) => events.some((event) => event['timer'] === 'scheduledStop'));
    expect(fired).toMatchObject([{ from: 'running', to: 'stopping', cause: { kind: 'timer', by: 'scheduledStop' } }]);
    expect(Date.parse(fired[0]!.at)).toBeGreaterThan(due);
    await bus.call(deleteMicrovm, { id: nightly.id }, persist);
  });

  it('restarts are bounded, and the reason says so', async () => {
    const { microvm } = await bus.call(
      createMicrovm,
      { spec: { image: 'canary', memoryMiB: 8, cmdline: 'exit=panic', restartPolicy: 'on-failure', maxRestarts: 1 } },
      persist,
    );
    const failed = await reaches(microvm.id, 'failed');
    expect(failed).toMatchObject({ restarts: 1, maxRestarts: 1, epoch: 2 });
    expect(failed.reason).toContain('started again 1 times in a row, as often as its maxRestarts allows; last: ');
    await bus.call(deleteMicrovm, { id: microvm.id }, persist);
  });
});
