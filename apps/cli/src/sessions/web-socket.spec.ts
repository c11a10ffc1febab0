import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { WebSocketServer, type WebSocket } from 'ws';
import * as protocol from '#protocol';
import type { RestClient } from '../rest/rest-client';
import { RemoteSession } from './remote-session';
import { openWebSocket } from './web-socket';

const { SESSION_FRAME } = protocol;
const frame = (type: number, content: string): Buffer => Buffer.concat([Uint8Array.of(type), Buffer.from(content)]);

describe('a WebSocket of the API', () => {
  let server: WebSocketServer;

  beforeEach(async () => {
    server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    await once(server, 'listening');
  });
  afterEach(() => {
    for (const client of server.clients) client.terminate();
    server.close();
  });

  const client = (): RestClient => {
    const { port } = server.address() as AddressInfo;
    return {
      webSocket: () => ({ url: `ws://127.0.0.1:${port}`, headers: {} }),
      unreachable: (error: unknown) => error as Error,
    } as unknown as RestClient;
  };

  it('loses nothing that was said before somebody listened', async () => {
    let said!: () => void;
    const saidAll = new Promise<void>((resolve) => (said = resolve));
    server.on('connection', (socket: WebSocket) => {
      socket.send(frame(SESSION_FRAME.stdout, 'written long ago'));
      socket.send(frame(SESSION_FRAME.exited, '{"code":0}'), () => said());
    });
    const socket = await openWebSocket(client(), '/');
    // As where the rest of the command is still being loaded.
    await saidAll;
    for (let i = 0; i < 50; i++) await turn();
    const stdout = new PassThrough();
    const session = new RemoteSession(socket, { stdout, stderr: new PassThrough() }, protocol);
    expect(await session.ended).toEqual({ code: 0 });
    expect(String(stdout.read())).toBe('written long ago');
    socket.terminate();
  });

  it('tells the end of a connection that broke before somebody listened', async () => {
    server.on('connection', (socket: WebSocket) => socket.terminate());
    const socket = await openWebSocket(client(), '/');
    for (let i = 0; i < 50; i++) await turn();
    const session = new RemoteSession(socket, { stdout: new PassThrough(), stderr: new PassThrough() }, protocol);
    expect(await session.ended).toMatchObject({ error: { code: 'unavailable' } });
  });
});
