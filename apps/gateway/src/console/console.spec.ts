import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { ask, gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';

describeWithNats('the console page', () => {
  let server: NatsServer;
  let gateway: GatewayUnderTest;
  const get = (path: string, headers = {}) => ask(gateway.url + path, { token: null, headers });

  beforeAll(async () => {
    server = await startNatsServer();
    gateway = await gatewayUnderTest(server.url);
  });
  afterAll(async () => {
    await gateway?.close();
    await server?.stop();
  });

  it('says that it is not built, until it is', async () => {
    const answer = await get('/');
    expect(answer.status).toBe(200);
    expect(answer.text).toContain('npm run build:console');
    expect((await get('/assets/index-abcdefgh.js')).status).toBe(404);

    await mkdir(join(gateway.consoleDir, 'assets'));
    await writeFile(join(gateway.consoleDir, 'assets/index-abcdefgh.js'), `console.log(1);${' '.repeat(2_000)}`);
    await writeFile(join(gateway.consoleDir, 'assets/plain.css'), 'a{}');
    await writeFile(join(gateway.consoleDir, 'favicon.svg'), '<svg/>');
    await writeFile(join(gateway.consoleDir, 'index.html'), '<!doctype html>the page');
    while (!(await get('/')).text.includes('the page')) await new Promise((resolve) => setTimeout(resolve, 50));
  });

  it('is served to anybody, with a strict policy', async () => {
    const { headers } = await get('/');
    expect(headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(headers.get('content-security-policy')).toMatch(
      /^default-src 'none'; script-src 'self';.*frame-ancestors 'none'$/,
    );
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('cache-control')).toBe('no-cache');
  });

  it('is kept for ever where its name changes with its content', async () => {
    const script = await get('/assets/index-abcdefgh.js');
    expect(script.headers.get('content-type')).toBe('text/javascript; charset=utf-8');
    expect(script.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    expect(script.headers.get('content-encoding')).toBe('gzip');
    expect(script.text).toContain('console.log(1);');
    expect((await get('/assets/plain.css')).headers.get('cache-control')).toBe('no-cache');
    expect((await get('/favicon.svg')).headers.get('content-type')).toBe('image/svg+xml');
  });

  it('is not sent twice', async () => {
    const { headers } = await get('/');
    const again = await get('/', { 'if-none-match': headers.get('etag')! });
    expect({ status: again.status, text: again.text }).toEqual({ status: 304, text: '' });
  });

  it('is all there is', async () => {
    await writeFile(join(gateway.consoleDir, '..', 'outside.html'), 'secret');
    for (const path of [
      '/assets/..%2findex.html',
      '/assets/..%2f..%2foutside.html',
      '/assets/%2e%2e/outside.html',
      '/outside.html',
    ]) {
      expect((await get(path)).status).toBe(404);
    }
    await rm(join(gateway.consoleDir, '..', 'outside.html'));
  });
});
