import { connect, type NatsConnection } from 'nats';
import pino from 'pino';
import type { BusClient } from '#bus';
import { HostClassSettings, type HostRecord } from '#protocol';
import { HostClassDirectory } from '#tenancy';
import { describedHost } from '../../../../test/support/known-hosts';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { HostHistories } from '../histories/host-histories';
import type { Partitions } from '../partitions/partitions';
import { HostClassKeeper } from './host-class-keeper';

const HOST = 'host-a';
const OTHER = 'host-b';
const settings = (cpu: number) => HostClassSettings.parse({ policy: { kind: 'fixedRatio', cpu, memory: 1 } });
const OWN = (hostClass: string) => ({ hostClass, revision: null, settings: null });

describeWithNats('the keeper of host classes', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let hosts: HostHistories;
  let keeper: HostClassKeeper;
  /** The operator's hand, as another process has it. */
  let classes: HostClassDirectory;
  /** Hosts that were told to ask, in order. */
  let told: string[];
  let isOurs: (hostId: string) => boolean;
  let wake: () => void = () => undefined;

  beforeEach(async () => {
    server = await startNatsServer();
    nc = await connect({ servers: server.url });
    const logger = pino({ level: 'silent' });
    hosts = new HostHistories(nc, logger);
    await hosts.onModuleInit();
    told = [];
    isOurs = () => true;
    const bus = {
      call: (_operation: unknown, _request: unknown, { values }: { values: { hostId: string } }) => {
        told.push(values.hostId);
        wake();
        return Promise.reject(new Error('it is away at the moment'));
      },
    };
    const partitions = { owns: (id: string) => isOurs(id) };
    keeper = new HostClassKeeper(hosts, partitions as Partitions, bus as unknown as BusClient, nc, logger);
    await keeper.onModuleInit();
    classes = await HostClassDirectory.open(nc);
    for (const hostId of [HOST, OTHER]) await register(hostId);
  });
  afterEach(async () => {
    keeper?.onModuleDestroy();
    classes?.close();
    hosts?.onModuleDestroy();
    await nc?.close();
    await server?.stop();
  });

  const who = (commandId: string, by = 'test'): Pick<HostRecord, 'commandId' | 'cause'> => ({
    commandId,
    cause: { kind: 'operator', by },
  });
  const register = (hostId: string) =>
    hosts.record(hostId, who(`register-${hostId}`), [
      { type: 'registered', description: describedHost(hostId, { hostClass: 'plain' }) },
      { type: 'admitted' },
    ]);
  const assign = (hostId: string, hostClass: string) =>
    hosts.record(hostId, who(`assign-${hostId}-${hostClass}`), [{ type: 'classAssigned', hostClass }]);
  const toldTimes = async (count: number): Promise<string[]> => {
    while (told.length < count) await new Promise<void>((resolve) => (wake = resolve));
    return [...told];
  };

  it('tells a host what it is to hold, and has it on record once that is what it holds', async () => {
    expect(await keeper.sync(HOST, OWN('plain'))).toEqual({ wanted: OWN('plain') });
    const { updatedAt: revision } = await classes.put('plain', settings(8));
    await toldTimes(2);
    const before = hosts.get(HOST)!.revision;
    const { wanted } = await keeper.sync(HOST, OWN('plain'));
    expect(wanted).toEqual({ hostClass: 'plain', revision, settings: settings(8) });
    // Asked for is not held.
    expect(hosts.get(HOST)!.revision).toBe(before);
    expect(await keeper.sync(HOST, wanted)).toEqual({ wanted });
    const after = hosts.get(HOST)!.revision;
    expect(after).toBeGreaterThan(before);
    // Said again, and by another replica's question, it is no news.
    await keeper.sync(HOST, wanted);
    expect(hosts.get(HOST)!.revision).toBe(after);
  });

  it('has the hosts of a class ask when it changes, and no others', async () => {
    await assign(HOST, 'dense');
    expect(await toldTimes(1)).toEqual([HOST]);
    await classes.put('dense', settings(8));
    expect(await toldTimes(2)).toEqual([HOST, HOST]);
    await classes.put('plain', settings(2));
    expect(await toldTimes(3)).toEqual([HOST, HOST, OTHER]);
  });

  it('leaves the hosts of other replicas to them', async () => {
    isOurs = (hostId) => hostId === OTHER;
    await classes.put('plain', settings(8));
    expect(await toldTimes(1)).toEqual([OTHER]);
    await assign(HOST, 'dense');
    await assign(OTHER, 'dense');
    expect(await toldTimes(2)).toEqual([OTHER, OTHER]);
  });

  it('knows no host that has not registered', async () => {
    await expect(keeper.sync('nobody', OWN('plain'))).rejects.toMatchObject({ code: 'notFound' });
  });

  it('knows a class that was put there a moment ago', async () => {
    await classes.put('fresh', settings(3));
    expect(await keeper.has('fresh')).toBe(true);
    expect(await keeper.has('never')).toBe(false);
  });
});
