import type { NatsConnection } from 'nats';
import { connectNats } from '#bus';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import { AliasKey } from './alias-key';

describeWithNats('the key of host names', () => {
  let server: NatsServer;
  let nats: NatsConnection;
  beforeAll(async () => {
    server = await startNatsServer();
    nats = await connectNats({ servers: server.url, name: 'key' });
  });
  afterEach(() => jest.restoreAllMocks());
  afterAll(async () => {
    await nats?.close();
    await server?.stop();
  });

  /** Questions about the bucket's values go where nobody listens, as they do while its cluster has no leader: so many of them. */
  const leaderless = (questions: number): { asked: number } => {
    const seen = { asked: 0 };
    const request = nats.request.bind(nats);
    jest.spyOn(nats, 'request').mockImplementation((subject, ...rest) => {
      const isRead = /^\$JS\.API\.(DIRECT\.GET|STREAM\.MSG\.GET)\.KV_/.test(subject);
      return request(isRead && ++seen.asked <= questions ? 'nobody.listens.here' : subject, ...rest);
    });
    return seen;
  };

  it('is read again while a cluster chooses a leader, and is the one that was made before', async () => {
    const alias = (await AliasKey.open(nats)).aliasOf('acme', 'host-a');
    const seen = leaderless(5);
    expect((await AliasKey.open(nats)).aliasOf('acme', 'host-a')).toBe(alias);
    expect(seen.asked).toBe(6);
  });

  it('is an error that says what failed when there is no leader in time', async () => {
    const seen = leaderless(Infinity);
    await expect(AliasKey.open(nats, 300)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(
        /^the key of host names cannot be read: could not read it within 300 ms/,
      ) as string,
    });
    expect(seen.asked).toBeGreaterThan(1);
  });
});
