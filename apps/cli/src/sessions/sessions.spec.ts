import { EventEmitter } from 'node:events';
import { PassThrough, Writable } from 'node:stream';
import type { WebSocket } from 'ws';
import * as protocol from '#protocol';
import { variableOption } from '../commands/option-types';
import { beforeDetach } from './console.command';
import { RemoteSession } from './remote-session';

const { SESSION_FRAME, SESSION_WINDOW } = protocol;

class FakeSocket extends EventEmitter {
  readonly sent: Buffer[] = [];
  readonly CLOSED = 3;
  readyState = 1;
  isPaused = true;
  send = (message: Buffer): void => void this.sent.push(message);
  pause = (): void => void (this.isPaused = true);
  resume = (): void => void (this.isPaused = false);
  close = (): void => void this.emit('close');
  receive(type: number, content: Uint8Array | string = ''): void {
    this.emit('message', Buffer.concat([Uint8Array.of(type), Buffer.from(content as string)]));
  }
  sentBytes(): number {
    return this.sent.filter(([type]) => type === SESSION_FRAME.stdin).reduce((sum, { length }) => sum + length - 1, 0);
  }
}

describe('a session at the keyboard', () => {
  const begin = (stdout: Writable = new PassThrough()) => {
    const socket = new FakeSocket();
    const streams = { stdout, stderr: new PassThrough() };
    return { socket, streams, session: new RemoteSession(socket as unknown as WebSocket, streams, protocol) };
  };

  it('shows output and tells how it ended', async () => {
    const { socket, streams, session } = begin();
    socket.receive(SESSION_FRAME.stdout, 'out');
    socket.receive(SESSION_FRAME.stderr, 'err');
    socket.receive(SESSION_FRAME.exited, '{"code":3}');
    expect(await session.ended).toEqual({ code: 3 });
    expect([String((streams.stdout as PassThrough).read()), String(streams.stderr.read())]).toEqual(['out', 'err']);
  });

  it('reads no further while its own output waits', () => {
    const waiting: (() => void)[] = [];
    const slow = new Writable({ highWaterMark: 1, write: (_chunk, _encoding, done) => void waiting.push(done) });
    const { socket } = begin(slow);
    socket.receive(SESSION_FRAME.stdout, 'more than one byte');
    expect(socket.isPaused).toBe(true);
    waiting[0]!();
    return new Promise<void>((resolve) => setImmediate(resolve)).then(() => expect(socket.isPaused).toBe(false));
  });

  it('sends input as credit allows', async () => {
    const { socket, session } = begin();
    const input = new PassThrough({ highWaterMark: 65_536 });
    session.feed(input);
    const whole = 2 * SESSION_WINDOW;
    for (let at = 0; at < whole; at += 65_536) input.write(Buffer.alloc(65_536));
    input.end();
    const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));
    await settle();
    expect(socket.sentBytes()).toBe(SESSION_WINDOW);
    socket.receive(SESSION_FRAME.credit, protocol.encodeCredit(SESSION_WINDOW));
    await settle();
    expect(socket.sentBytes()).toBe(whole);
    expect(socket.sent.at(-1)).toEqual(Buffer.of(SESSION_FRAME.stdin));
  });

  it('says so when the connection breaks', async () => {
    const { socket, session } = begin();
    socket.close();
    expect(await session.ended).toMatchObject({ error: { code: 'unavailable' } });
  });

  it('leaves the console at Ctrl-] and types what came before it', () => {
    let left = 0;
    expect(beforeDetach(Buffer.from('ls\r'), () => left++).toString()).toBe('ls\r');
    expect(beforeDetach(Buffer.from('ab\x1dcd'), () => left++).toString()).toBe('ab');
    expect(left).toBe(1);
  });
});

describe('variables of exec', () => {
  it('are given, or taken from here', () => {
    process.env['VOLLEY_TEST_VARIABLE'] = 'here';
    const both = variableOption('VOLLEY_TEST_VARIABLE', variableOption('A=b=c'));
    expect(both).toEqual({ A: 'b=c', VOLLEY_TEST_VARIABLE: 'here' });
    delete process.env['VOLLEY_TEST_VARIABLE'];
    expect(() => variableOption('VOLLEY_TEST_VARIABLE')).toThrow('no variable');
    expect(() => variableOption('=x')).toThrow('NAME=VALUE');
  });
});
