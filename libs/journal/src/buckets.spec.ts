import { JetStreamApiError, jetstreamManager, type JetStreamManager, type StreamConfig } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { Objm } from '@nats-io/obj';
import { connect, type NatsConnection } from 'nats';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import { keyValueConfig, objectsConfig, openKeyValue, openObjects } from './buckets';
import { setTraits } from './connection-traits';
import { StreamConfigError } from './journal-errors';
import { ensureStream } from './stream-config';

type Config = Partial<StreamConfig>;

/** A server's stream management that does to what it is given what `honours` says. */
function scripted(honours: (config: Config) => Config, before?: Config) {
  let kept = before;
  const store = (config: Config) => Promise.resolve({ config: (kept = honours({ ...kept, ...config })) });
  const updates: Config[] = [];
  const notFound = new JetStreamApiError({ code: 404, err_code: 10059, description: 'stream not found' });
  const streams = {
    info: () => (kept ? Promise.resolve({ config: kept }) : Promise.reject(notFound)),
    add: store,
    update: (_: string, config: Config) => {
      updates.push(config);
      return store(config);
    },
  };
  return { jsm: { streams } as unknown as JetStreamManager, updates };
}

describe('the settings of a bucket', () => {
  const without = (key: keyof StreamConfig) => (config: Config) => ({ ...config, [key]: undefined });

  it.each(['max_msgs_per_subject', 'allow_rollup_hdrs', 'allow_direct', 'num_replicas', 'max_age', 'discard'] as const)(
    'that the server ignores without a word, such as %s, stop the start and are named',
    async (setting) => {
      const wanted = { ...keyValueConfig({ name: 'x', ttlMs: 1_000 }, 1) };
      const { jsm } = scripted(without(setting));
      const failed = ensureStream(jsm, wanted, '2.9.10');
      await expect(failed).rejects.toThrow(`nats-server 2.9.10 does not honour ${setting}=`);
      await expect(failed).rejects.toBeInstanceOf(StreamConfigError);
    },
  );

  it('that an existing bucket has otherwise are changed, and proved again', async () => {
    const wanted = objectsConfig({ name: 'x', ttlMs: 2_000 }, 3);
    const before = objectsConfig({ name: 'x', ttlMs: 1_000 }, 1);
    const obedient = scripted((config) => config, before);
    await ensureStream(obedient.jsm, wanted, '2.9.10');
    expect(obedient.updates).toEqual([wanted]);
    const stubborn = scripted((config) => ({ ...config, num_replicas: 1 }), before);
    await expect(ensureStream(stubborn.jsm, wanted, '2.9.10')).rejects.toThrow('num_replicas=3 (is 1)');
  });
});

describeWithNats('buckets', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  beforeAll(async () => {
    server = await startNatsServer();
    nc = await connect({ servers: server.url });
  });
  afterAll(async () => {
    await nc?.close();
    await server?.stop();
  });

  it('are those that other clients of NATS make, and stay what they are', async () => {
    await (await new Kvm(nc).create('theirs', { history: 1, ttl: 60_000 })).put('a', '1');
    const kv = await openKeyValue(nc, { name: 'theirs', ttlMs: 60_000 });
    expect((await kv.get('a'))?.string()).toBe('1');
    await new Objm(nc).create('files', {});
    const { store } = await openObjects(nc, { name: 'files' });
    await store.putBlob({ name: 'f' }, Buffer.from('content'));
    expect(Buffer.from((await store.getBlob('f'))!).toString()).toBe('content');
    const again = await openKeyValue(nc, { name: 'theirs', ttlMs: 60_000 });
    expect((await again.get('a'))?.revision).toBe(1);
  });

  it('take over a changed time to live', async () => {
    await openKeyValue(nc, { name: 'short', ttlMs: 60_000 });
    await openKeyValue(nc, { name: 'short', ttlMs: 30_000 });
    const { config } = await (await jetstreamManager(nc)).streams.info('KV_short');
    expect(config.max_age).toBe(30_000 * 1e6);
  });

  it('cannot be kept threefold by one server, which is said at the start', async () => {
    const threefold = await connect({ servers: server.url });
    setTraits(threefold, { replicas: 3 });
    await expect(openKeyValue(threefold, { name: 'three' })).rejects.toBeInstanceOf(StreamConfigError);
    await threefold.close();
  });
});
