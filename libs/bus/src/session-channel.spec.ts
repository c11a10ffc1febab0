import { randomUUID } from 'node:crypto';
import type { NatsConnection } from 'nats';
import { OperationError, SESSION_FRAME, SESSION_WINDOW, encodeSessionMessage, sessionToGuest } from '#protocol';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import { connectNats } from './nats-connection';
import { SessionChannel, type SessionChannelOptions } from './session-channel';

interface Side {
  channel: SessionChannel;
  got: { type: number; content: string }[];
  ended: Promise<OperationError | undefined>;
  next(): Promise<void>;
}

describeWithNats('a session channel', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  beforeAll(async () => {
    server = await startNatsServer({ jetstream: false });
    nc = await connectNats({ servers: server.url, name: 'session-channel' });
  });
  afterAll(async () => {
    await nc?.close();
    await server?.stop();
  });

  function side(sessionId: string, which: 'guest' | 'client', more: Partial<SessionChannelOptions> = {}): Side {
    const got: Side['got'] = [];
    let wake: (() => void) | undefined;
    let settle!: (error: OperationError | undefined) => void;
    const ended = new Promise<OperationError | undefined>((resolve) => (settle = resolve));
    const channel = new SessionChannel({
      connection: nc,
      hostId: 'h1',
      sessionId,
      side: which,
      onMessage: (type, content) => {
        got.push({ type, content: Buffer.from(content).toString() });
        wake?.();
      },
      onEnd: settle,
      ...more,
    });
    return { channel, got, ended, next: () => new Promise((resolve) => (wake = resolve)) };
  }
  const pair = (more?: Partial<SessionChannelOptions>): [Side, Side, string] => {
    const id = randomUUID();
    return [side(id, 'guest', more), side(id, 'client', more), id];
  };

  it('carries messages both ways, in order, and tells when the other side closes', async () => {
    const [guest, client] = pair();
    await guest.channel.ready();
    await client.channel.write(SESSION_FRAME.stdin, Buffer.from('in'));
    await guest.channel.write(SESSION_FRAME.stdout, Buffer.from('out'));
    guest.channel.send(SESSION_FRAME.exited, Buffer.from('{}'));
    await client.next();
    await nc.flush();
    expect(guest.got).toEqual([{ type: SESSION_FRAME.stdin, content: 'in' }]);
    expect(client.got.map(({ content }) => content)).toEqual(['out', '{}']);
    client.channel.send(SESSION_FRAME.close);
    client.channel.end();
    expect(await guest.ended).toBeUndefined();
    await expect(guest.channel.write(SESSION_FRAME.stdout, Buffer.from('x'))).rejects.toThrow('over');
  });

  it('lets no more through than was taken', async () => {
    const [guest, client] = pair();
    let received = 0;
    await guest.channel.ready();
    const whole = guest.channel.write(SESSION_FRAME.stdout, Buffer.alloc(3 * SESSION_WINDOW));
    let done = false;
    void whole.then(() => (done = true));
    const count = (): number => client.got.reduce((sum, { content }) => sum + content.length, 0);
    while (count() < SESSION_WINDOW) await client.next();
    await nc.flush();
    expect(count()).toBe(SESSION_WINDOW);
    expect(done).toBe(false);
    while (!done) {
      const fresh = count() - received;
      received += fresh;
      client.channel.took(fresh);
      await nc.flush();
    }
    expect(count()).toBe(3 * SESSION_WINDOW);
    client.channel.end();
    guest.channel.end();
  });

  it('ends when messages were lost, are none, or are more than may come', async () => {
    for (const [bytes, reason] of [
      [encodeSessionMessage(SESSION_FRAME.stdin, 1), 'lost on their way'],
      [new Uint8Array(3), 'no message'],
      [encodeSessionMessage(SESSION_FRAME.stdin, 0, new Uint8Array(SESSION_WINDOW + 1)), 'more than it may'],
      [encodeSessionMessage(SESSION_FRAME.credit, 0, new Uint8Array([1, 0, 0, 0])), 'what it did not get'],
    ] as const) {
      const id = randomUUID();
      const guest = side(id, 'guest');
      nc.publish(sessionToGuest('h1', id), bytes);
      expect((await guest.ended)?.message).toContain(reason);
    }
  });

  it('ends when the other side has gone, and goes on while it lives', async () => {
    const [guest, client] = pair({ aliveMs: 20, silenceMs: 2_000 });
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    expect(guest.channel.isOver).toBe(false);
    client.channel.end();
    expect((await guest.ended)?.message).toContain('said nothing');
  });
});
