import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import pino from 'pino';
import { MetadataServer, type MetadataServerParts } from './metadata-server';

describe('metadata', () => {
  let directory: string;
  let path: string;
  let server: MetadataServer;
  let values: Record<string, Record<string, string>>;

  const listen = async (more: Partial<MetadataServerParts> = {}): Promise<void> => {
    server = await MetadataServer.listen({
      path,
      valuesOf: (id) => values[id],
      log: pino({ level: 'silent' }),
      ...more,
    });
  };
  /** Speaks as broker and guest do; resolves with all that is answered until the end. */
  const say = (words: string): Promise<string> => {
    const socket = connect(path);
    socket.on('error', () => undefined);
    socket.write(words);
    return text(socket).catch(() => '');
  };
  const get = (target: string, id = 'vm1', more = ''): Promise<string> =>
    say(`${id}\nGET ${target} HTTP/1.1\r\nHost: volley\r\nConnection: close\r\n${more}\r\n`);

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'volley-metadata-'));
    path = join(directory, 'metadata.sock');
    values = { vm1: { name: 'wörld', 'a/b.c': '2', empty: '' }, vm2: { name: 'other' } };
    await listen();
  });
  afterEach(async () => {
    await server.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it('is answered to its own microVM only', async () => {
    expect(await get('/v1/metadata/name')).toMatch(
      /^HTTP\/1\.1 200 OK\r\n.*\r\nContent-Length: 6\r\n.*\r\n\r\nwörld$/s,
    );
    expect(await get('/v1/metadata/name', 'vm2')).toMatch(/\r\n\r\nother$/);
    expect(await get('/v1/metadata')).toMatch(/{"name":"wörld","a\/b.c":"2","empty":""}$/);
    expect(await get('/v1/metadata/a/b.c')).toMatch(/\r\n\r\n2$/);
    expect(await get('/v1/metadata/a%2Fb.c')).toMatch(/\r\n\r\n2$/);
    expect(await get('/v1/metadata/empty')).toMatch(/Content-Length: 0\r\n.*\r\n\r\n$/s);
    expect(await get('/v1/metadata/name', 'vm3')).toBe('');
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('follows what changes, on a connection that stays', async () => {
    const socket: Socket = connect(path);
    const answer = (): Promise<string> =>
      new Promise((resolve) => socket.once('data', (data) => resolve(data.toString())));
    const ask = 'GET /v1/metadata/name HTTP/1.1\r\n\r\n';
    socket.write(`vm1\n${ask}`);
    expect(await answer()).toMatch(/keep-alive/);
    values['vm1'] = { name: 'new' };
    socket.write(ask.slice(0, 9));
    socket.write(ask.slice(9));
    expect(await answer()).toMatch(/new$/);
    delete values['vm1'];
    socket.write(ask);
    expect(await answer()).toMatch(/^HTTP\/1\.1 410/);
    socket.destroy();
  });

  it.each([
    ['/v1/metadata/nosuch', 404],
    ['/v1/metadata/toString', 404],
    ['/v1/metadata/__proto__', 404],
    ['/v1/metadata/%zz', 400],
    ['/', 404],
    ['/v2/metadata', 404],
  ])('answers %s with %d', async (target, status) => {
    expect(await get(target)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  });

  it('is read by an ordinary HTTP client', async () => {
    const answered = await new Promise<string>((resolve, reject) => {
      const socket = connect(path);
      socket.write('vm2\n');
      const asked = request({ createConnection: () => socket, path: '/v1/metadata/name' }, (response) =>
        resolve(text(response)),
      );
      asked.on('error', reject);
      asked.end();
    });
    expect(answered).toBe('other');
  });

  it.each([
    ['no HTTP', 'vm1\nhello\r\n\r\n', /^HTTP\/1\.1 400/],
    ['another method', 'vm1\nPOST /v1/metadata HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 405/],
    ['a body', 'vm1\nGET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello', /^HTTP\/1\.1 413/],
    ['chunks', 'vm1\nGET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n', /^HTTP\/1\.1 413/],
    ['an endless head', `vm1\nGET /${'a'.repeat(9_000)}`, /^HTTP\/1\.1 431/],
    ['an endless id', 'x'.repeat(100), /^$/],
    ['a long id', `${'x'.repeat(80)}\nGET / HTTP/1.1\r\n\r\n`, /^$/],
    ['another id in what the guest says', 'nobody\nvm1\nGET /v1/metadata HTTP/1.1\r\n\r\n', /^$/],
  ])('does not fall for %s', async (_, words, answer) => {
    expect(await say(words)).toMatch(answer);
    expect(await get('/v1/metadata/name')).toMatch(/wörld$/);
  });

  it('lets no guest keep connections to itself', async () => {
    await server.close();
    await listen({ connectionMs: 2_000, connectionsEach: 2 });
    const slow = [say('vm1\nGET'), say('vm1\nGET')];
    // Until both are there, there is room for another.
    while ((await get('/v1/metadata/name')) !== '');
    expect(await get('/v1/metadata/name', 'vm2')).toMatch(/other$/);
    expect(await Promise.all(slow)).toEqual(['', '']);
    expect(await get('/v1/metadata/name')).toMatch(/wörld$/);
  });
});
