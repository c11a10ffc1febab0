import { connect, type NatsConnection } from 'nats';
import { openDensityJournals } from '#fleet';
import type { DensityPoint } from '#protocol';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { DensityStore } from './density-store';

const STEP_MS = 10_000;
const NOW = Date.now();
const BEGIN = Math.floor((NOW - 600_000) / STEP_MS) * STEP_MS;

describeWithNats('density kept by two placement services', () => {
  let server: NatsServer;
  const connections: NatsConnection[] = [];
  const stores: DensityStore[] = [];

  beforeEach(async () => {
    server = await startNatsServer();
    for (let i = 0; i < 2; i++) {
      const nc = await connect({ servers: server.url });
      connections.push(nc);
      stores.push(new DensityStore(await openDensityJournals(nc)));
    }
  });
  afterEach(async () => {
    for (const nc of connections.splice(0)) await nc.close();
    stores.splice(0);
    await server.stop();
  });

  const point = (step: number, microvms: number): DensityPoint => ({
    at: BEGIN + step * STEP_MS,
    readings: 10,
    figures: { microvms: { min: microvms, mean: microvms, max: microvms, p99: microvms } },
  });
  const kept = async (store: DensityStore): Promise<[number, number | undefined][]> => {
    const { points } = await store.read(
      { scope: { kind: 'fleet' }, from: BEGIN, to: BEGIN + 100 * STEP_MS, stepMs: STEP_MS },
      NOW,
    );
    return points.map(({ at, figures }) => [(at - BEGIN) / STEP_MS, figures.microvms?.mean]);
  };

  it('has each step once, as whoever was first has it', async () => {
    const [one, other] = stores as [DensityStore, DensityStore];
    for (let step = 0; step < 20; step++) {
      await Promise.all([
        one.append('recent', { kind: 'fleet' }, point(step, 3)),
        other.append('recent', { kind: 'fleet' }, point(step, 3)),
      ]);
    }
    const wanted = Array.from({ length: 20 }, (_, step) => [step, 3]);
    expect(await kept(one)).toEqual(wanted);
    expect(await kept(other)).toEqual(wanted);
  });

  it('goes on with the other when one of them ends, without a gap or a step twice', async () => {
    const [one, other] = stores as [DensityStore, DensityStore];
    await one.append('recent', { kind: 'fleet' }, point(0, 1));
    await other.append('recent', { kind: 'fleet' }, point(0, 2));
    await connections[0]!.close();
    await other.append('recent', { kind: 'fleet' }, point(1, 2));
    expect(await kept(other)).toEqual([
      [0, 1],
      [1, 2],
    ]);
  });

  it('keeps steps of different things apart', async () => {
    const [one, other] = stores as [DensityStore, DensityStore];
    await one.append('recent', { kind: 'fleet' }, point(0, 1));
    await other.append('recent', { kind: 'host', hostId: 'host-a' }, point(0, 2));
    await other.append('minutes', { kind: 'fleet' }, point(0, 3));
    expect(await kept(other)).toEqual([[0, 1]]);
  });
});
