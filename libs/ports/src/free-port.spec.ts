import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { freePort, isPortFree } from './free-port';

const HOST = '127.0.0.1';

describe('a free port', () => {
  it('can be listened on, and is none that the kernel gives to outgoing connections', async () => {
    const [first, last] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/).map(Number);
    for (let i = 0; i < 50; i++) {
      const port = await freePort(HOST);
      expect(port >= first! && port <= last!).toBe(false);
    }
    const port = await freePort(HOST);
    const server = createServer().listen({ host: HOST, port, exclusive: true });
    await once(server, 'listening');
    expect(await isPortFree(HOST, port)).toBe(false);
    server.close();
    await once(server, 'close');
    expect(await isPortFree(HOST, port)).toBe(true);
  });

  it('is an error at an address that this machine does not have', async () => {
    await expect(freePort('203.0.113.1')).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
    await expect(isPortFree('203.0.113.1', 20_000)).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
  });
});
