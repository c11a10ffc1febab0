import { ExitCode } from '../exit-code';
import { json, scriptedApi, type ScriptedApi } from '../testing/scripted-api';
import { RestClient } from './rest-client';

let api: ScriptedApi;
afterEach(() => api.close());

it('sends token, query and body, and uses its connection again', async () => {
  const ports = new Set<unknown>();
  api = await scriptedApi((_, response) => {
    ports.add(response.req.socket.remotePort);
    json(response, 200, { yes: true });
  });
  for (let i = 0; i < 3; i++) {
    expect(await api.client.post('/v1/x', { query: { a: ['1', '2'], b: undefined, c: 3 }, body: { d: 4 } })).toEqual({
      yes: true,
    });
  }
  expect(api.seen[0]).toMatchObject({ method: 'POST', path: '/v1/x', body: { d: 4 } });
  expect(String(api.seen[0]!.query)).toBe('a=1&a=2&c=3');
  expect(api.seen[0]!.headers.authorization).toBe('Bearer secret');
  expect(ports.size).toBe(1);
});

it('says in one line what a problem document says', async () => {
  api = await scriptedApi((_, response) =>
    json(response, 422, {
      detail: 'The request\nis not valid.',
      errors: [{ path: 'vcpus', message: 'must be at least 1' }],
    }),
  );
  await expect(api.client.get('/v1/x')).rejects.toMatchObject({
    message: 'The request is not valid.; vcpus: must be at least 1',
    exitCode: ExitCode.usage,
    status: 422,
  });
});

it.each([
  [404, ExitCode.notFound],
  [409, ExitCode.refused],
  [401, ExitCode.failed],
  [503, ExitCode.notUp],
  [504, ExitCode.timeout],
  [500, ExitCode.failed],
])('makes of status %i the exit code %i', async (status, exitCode) => {
  api = await scriptedApi((_, response) => json(response, status, { detail: 'no' }));
  await expect(api.client.get('/v1/x')).rejects.toMatchObject({ exitCode });
});

it('shows the beginning of an answer that is no problem document', async () => {
  api = await scriptedApi((_, response) => response.writeHead(502).end('<html>bad gateway</html>'));
  await expect(api.client.get('/v1/x')).rejects.toMatchObject({ message: '<html>bad gateway</html>' });
});

it('tells a URL that serves something else', async () => {
  api = await scriptedApi((_, response) => response.writeHead(200).end('<html></html>'));
  await expect(api.client.get('/v1/x')).rejects.toThrow('is this a Volley gateway?');
});

it('does not wait for ever', async () => {
  api = await scriptedApi(() => {});
  await expect(api.client.get('/v1/x', { deadlineMs: 50 })).rejects.toMatchObject({ exitCode: ExitCode.timeout });
});

it('says how to start what is not there', async () => {
  api = await scriptedApi(() => {});
  const nobody = new RestClient({ url: 'http://127.0.0.1:1', token: () => undefined });
  await expect(nobody.get('/v1/x')).rejects.toMatchObject({
    message: expect.stringContaining('./volley up'),
    exitCode: ExitCode.notUp,
  });
});

it('reads a list to its end', async () => {
  api = await scriptedApi(({ query }, response) => {
    const cursor = query.get('cursor');
    json(response, 200, cursor === null ? { items: [1, 2], nextCursor: 'b' } : { items: [3], nextCursor: null });
  });
  const items: number[] = [];
  for await (const one of api.client.pages<number>('/v1/x', { state: 'running' })) items.push(one);
  expect(items).toEqual([1, 2, 3]);
  expect(String(api.seen[1]!.query)).toBe('limit=1000&state=running&cursor=b');
});
