import { Socket } from 'node:net';
import { connect, type NatsConnection } from 'nats';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import { connectGathering } from './gathering-transport';

describeWithNats('a connection that gathers what it writes', () => {
  let server: NatsServer;
  let gathering: NatsConnection;
  let listener: NatsConnection;
  const heard: string[] = [];
  let onHeard = (): void => {};

  beforeAll(async () => {
    server = await startNatsServer({ jetstream: false });
    listener = await connect({ servers: server.url });
    gathering = await connectGathering({ servers: server.url });
    const callback = (_: Error | null, msg: { string(): string }): void => {
      heard.push(msg.string());
      onHeard();
    };
    listener.subscribe('told', { callback });
    await listener.flush();
  });
  beforeEach(() => heard.splice(0));
  afterAll(async () => {
    await Promise.all([gathering?.close(), listener?.close()]);
    await server?.stop();
  });

  const untilHeard = (count: number): Promise<void> =>
    new Promise((resolve) => {
      onHeard = () => heard.length === count && resolve();
    });

  it('writes once for all steps of one turn of the event loop, and in order', async () => {
    const expected = Array.from({ length: 50 }, (_, i) => String(i));
    const all = untilHeard(expected.length);
    const write = jest.spyOn(Socket.prototype, 'write');
    try {
      for (const text of expected) {
        await Promise.resolve(); // the client alone writes here
        gathering.publish('told', text);
      }
      await new Promise(setImmediate);
      expect(write).toHaveBeenCalledTimes(1);
    } finally {
      write.mockRestore();
    }
    await all;
    expect(heard).toEqual(expected);
  });

  it('writes what it has when it is closed', async () => {
    const last = untilHeard(1);
    const brief = await connectGathering({ servers: server.url });
    brief.publish('told', 'last words');
    await Promise.resolve();
    await brief.close();
    await last;
    expect(heard).toEqual(['last words']);
  });
});
