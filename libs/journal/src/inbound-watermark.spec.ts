import { connect, type NatsConnection } from 'nats';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import { InboundWatermark } from './inbound-watermark';

/** Resolves when this holds; looked at after every turn of the event loop. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describeWithNats('InboundWatermark', () => {
  let server: NatsServer;
  let nc: NatsConnection;

  beforeEach(async () => {
    server = await startNatsServer();
    nc = await connect({ servers: server.url });
  });
  afterEach(async () => {
    await nc.close();
    await server.stop();
  });

  it('is one for each connection, and goes on by itself', async () => {
    const watermark = InboundWatermark.of(nc);
    expect(InboundWatermark.of(nc)).toBe(watermark);
    const now = performance.now();
    await until(() => watermark.readUntilMs > now);
  });

  it('passes an instant only when all that had been sent by then was read', async () => {
    const watermark = InboundWatermark.of(nc);
    const other = await connect({ servers: server.url });
    let read = 0;
    nc.subscribe('work', {
      callback: () => {
        const untilMs = performance.now() + 5;
        while (performance.now() < untilMs); // A service that needs long for each.
        read++;
      },
    });
    await nc.flush();
    for (let i = 0; i < 100; i++) other.publish('work', 'x'.repeat(50_000)); // More than is read in one turn.
    await other.flush();
    const sentMs = performance.now();
    await until(() => watermark.readUntilMs > sentMs);
    expect(read).toBe(100);
    await other.close();
  });

  it('stands where the ping was sent, not where it was answered', async () => {
    let answer = (): void => undefined;
    const slow = { isClosed: () => false, flush: () => new Promise<void>((resolve) => (answer = resolve)) };
    const beforeMs = performance.now();
    const watermark = InboundWatermark.of(slow as never);
    const sentMs = performance.now();
    await until(() => performance.now() > sentMs + 50);
    const unread = watermark.readUntilMs;
    expect(unread).toBeLessThanOrEqual(sentMs);
    answer();
    await new Promise((resolve) => setImmediate(resolve));
    expect(watermark.readUntilMs).toBeGreaterThanOrEqual(beforeMs);
    expect(watermark.readUntilMs).toBeLessThanOrEqual(sentMs);
  });

  it('stands still while the server does, and goes on after a reconnect', async () => {
    const watermark = InboundWatermark.of(nc);
    await server.kill9();
    const goneMs = performance.now();
    await until(() => performance.now() > goneMs + 600);
    expect(watermark.readUntilMs).toBeLessThan(goneMs);
    expect(watermark.lagMs).toBeGreaterThan(600);
    await server.restart();
    const backMs = performance.now();
    await until(() => watermark.readUntilMs > backMs);
  });
});
