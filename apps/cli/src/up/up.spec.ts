import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { json, scriptedApi } from '../testing/scripted-api';
import { firstLight, FIRST_LIGHT_LABEL } from './first-light';
import { availableAt, parseListen } from './listen-address';
import { stopMicrovms } from './stop-microvms';

describe('the address to listen on', () => {
  it.each([
    ['127.0.0.1:7400', { host: '127.0.0.1', port: 7400 }],
    ['[::1]:0', { host: '::1', port: 0 }],
    ['some.host:80', { host: 'some.host', port: 80 }],
  ])('reads %s', (text, address) => expect(parseListen(text)).toEqual(address));
  it.each(['7400', '127.0.0.1', 'a b:1', '127.0.0.1:70000'])('refuses %s', (text) => {
    expect(() => parseListen(text)).toThrow('must be HOST:PORT');
  });
  it('is refused when it is taken, and chosen when it is 0', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    await expect(availableAt({ host: '127.0.0.1', port })).rejects.toThrow('is taken by another program');
    taken.close();
    const { port: any } = await availableAt({ host: '127.0.0.1', port: 0 });
    expect(any).toBeGreaterThan(0);
    // Nor is it one that the kernel gives to outgoing connections.
    const [first, last] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/).map(Number);
    expect(any >= first! && any <= last!).toBe(false);
  });
});

describe('first light', () => {
  const light = async (existing: object[]) => {
    const api = await scriptedApi(({ method }, response) =>
      method === 'GET' ? json(response, 200, { items: existing }) : json(response, 201, { id: 'x', state: 'running' }),
    );
    const result = await firstLight(api.client);
    await api.close();
    return { how: result.how, orders: api.seen.filter(({ method }) => method === 'POST') };
  };
  it('is a new canary the first time', async () => {
    const { how, orders } = await light([]);
    expect(how).toBe('created');
    expect(orders[0]).toMatchObject({
      path: '/v1/microvms',
      body: { image: 'canary', labels: { [FIRST_LIGHT_LABEL]: 'true' } },
    });
  });
  it('is the same canary again after a stop', async () => {
    const { how, orders } = await light([{ id: 'old', state: 'stopped' }]);
    expect([how, orders[0]!.path]).toEqual(['started again', '/v1/microvms/old/start']);
  });
  it('disturbs no canary that runs', async () => {
    const { how, orders } = await light([
      { id: 'old', state: 'stopped' },
      { id: 'older', state: 'running' },
    ]);
    expect([how, orders]).toEqual(['was running', []]);
  });
});

describe('stopping the microVMs of a host', () => {
  const fleet = (
    hosts: Record<string, string | null>,
    refuse: (id: string, attempt: number) => boolean = () => false,
  ) => {
    const states = new Map(Object.keys(hosts).map((id) => [id, 'running']));
    const attempts = new Map<string, number>();
    return scriptedApi(({ method, path }, response) => {
      if (method === 'GET') {
        const items = [...states].filter(([, state]) => state === 'running').map(([id]) => ({ id, hostId: hosts[id] }));
        return json(response, 200, { items, nextCursor: null });
      }
      const id = path.split('/')[3]!;
      const attempt = (attempts.get(id) ?? 0) + 1;
      attempts.set(id, attempt);
      if (refuse(id, attempt)) return json(response, 409, { detail: 'not now' });
      states.set(id, 'stopped');
      return json(response, 200, { id });
    });
  };

  it('leaves other hosts alone, takes those without a host, and tries again what was refused', async () => {
    const api = await fleet({ a: 'here', b: 'there', c: null, d: 'here' }, (id, attempt) => id === 'd' && attempt < 3);
    expect(await stopMicrovms(api.client, ['here'], { graceMs: 10, deadlineMs: 5_000 })).toEqual({
      stopped: 3,
      left: 0,
    });
    await api.close();
    expect(api.seen.some(({ path }) => path === '/v1/microvms/b/stop')).toBe(false);
  });

  it('gives up when time is up, and says how many are left', async () => {
    const api = await fleet({ a: 'here' }, () => true);
    expect(await stopMicrovms(api.client, ['here'], { graceMs: 10, deadlineMs: 200 })).toEqual({ stopped: 0, left: 1 });
    await api.close();
  });
});
