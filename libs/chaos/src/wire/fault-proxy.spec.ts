import { connect, type NatsConnection } from 'nats';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { SeededRandom } from '../seeded-random';
import { FaultProxy } from './fault-proxy';

describeWithNats('a proxy that spoils', () => {
  let server: NatsServer;
  let proxy: FaultProxy;
  let behind: NatsConnection;
  let direct: NatsConnection;

  beforeAll(async () => (server = await startNatsServer({ jetstream: false })));
  afterAll(() => server.stop());
  beforeEach(async () => {
    proxy = await FaultProxy.listen(() => server.port, new SeededRandom(1));
    behind = await connect({ servers: `127.0.0.1:${proxy.port}`, reconnectTimeWait: 20, maxReconnectAttempts: -1 });
    direct = await connect({ servers: server.url });
  });
  afterEach(async () => {
    await behind.close();
    await direct.close();
    await proxy.close();
  });

  /** Numbers as they reach the other side of the proxy, until `count` have come. */
  async function heard(count: number, sent: number): Promise<number[]> {
    const got: number[] = [];
    const subscription = direct.subscribe('n');
    await direct.flush();
    for (let i = 0; i < sent; i++) behind.publish('n', String(i));
    for await (const message of subscription) if (got.push(Number(message.string())) === count) break;
    return got;
  }
  const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

  it('changes nothing while nothing is to be spoiled', async () => {
    expect(await heard(50, 50)).toEqual(numbers(50));
    expect(proxy.spoiled).toBe(0);
  });

  it('doubles messages', async () => {
    proxy.spoil('toServer', { duplicate: 1 });
    const got = await heard(20, 10);
    expect([...got].sort((a, b) => a - b)).toEqual(numbers(10).flatMap((n) => [n, n]));
  });

  it('lets messages overtake each other and loses none', async () => {
    proxy.spoil('toServer', { hold: 0.3, holdMs: 40 });
    const got = await heard(100, 100);
    expect(got).not.toEqual(numbers(100));
    expect([...got].sort((a, b) => a - b)).toEqual(numbers(100));
  });

  it('cuts one way only', async () => {
    direct.subscribe('echo', { callback: (_, message) => void message.respond('heard') });
    await direct.flush();
    const arrived = new Promise((resolve) => direct.subscribe('out', { max: 1, callback: resolve }));
    await direct.flush();
    proxy.spoil('toClient', { cut: true });
    behind.publish('out');
    await arrived;
    await expect(behind.request('echo', '', { timeout: 200 })).rejects.toThrow();
  });

  it('makes a client connect anew when a cut is healed, and lets it talk again', async () => {
    direct.subscribe('echo', { callback: (_, message) => void message.respond('heard') });
    await direct.flush();
    proxy.spoil('toServer', { cut: true });
    proxy.spoil('toClient', { cut: true });
    await expect(behind.request('echo', '', { timeout: 100 })).rejects.toThrow();
    const back = (async () => {
      for await (const { type } of behind.status()) if (type === 'reconnect') return;
    })();
    proxy.heal();
    await back;
    expect((await behind.request('echo', '', { timeout: 20_000 })).string()).toBe('heard');
  });

  it('keeps the order of what is merely late, also when the delay ends', async () => {
    proxy.spoil('toServer', { delayMs: 60 });
    const got: number[] = [];
    const subscription = direct.subscribe('n');
    await direct.flush();
    for (let i = 0; i < 10; i++) behind.publish('n', String(i));
    await new Promise((resolve) => setTimeout(resolve, 20));
    proxy.heal();
    for (let i = 10; i < 20; i++) behind.publish('n', String(i));
    for await (const message of subscription) if (got.push(Number(message.string())) === 20) break;
    expect(got).toEqual(numbers(20));
  });
});
