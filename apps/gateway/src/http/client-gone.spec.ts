import { once } from 'node:events';
import { createServer, get, type ClientRequest, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { clientGone } from './client-gone';

describe('a client that goes', () => {
  let server: Server;
  let client: ClientRequest;
  let response: ServerResponse;

  beforeEach(async () => {
    server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const asked = once(server, 'request');
    client = get({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' });
    client.on('error', () => undefined).on('response', (answer) => answer.resume());
    [, response] = (await asked) as [unknown, ServerResponse];
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  it('is noticed when it goes', async () => {
    const gone = clientGone(response);
    expect(gone.aborted).toBe(false);
    client.destroy();
    await once(gone, 'abort');
    expect(gone.reason).toMatchObject({ message: 'the client has gone' });
  });

  it('is noticed when it went before anybody looked', async () => {
    const closed = once(response, 'close');
    client.destroy();
    await closed;
    expect(clientGone(response).aborted).toBe(true);
  });

  it('has not gone when it was answered', async () => {
    const before = clientGone(response);
    const closed = once(response, 'close');
    response.end('all of it');
    await closed;
    expect([before.aborted, clientGone(response).aborted]).toEqual([false, false]);
  });
});
