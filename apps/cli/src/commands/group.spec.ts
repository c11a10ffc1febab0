import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ExitCode } from '../exit-code';
import { runVolley } from '../program';
import { json, scriptedApi, type ScriptedApi } from '../testing/scripted-api';

const GROUP = {
  id: 'acme_web',
  state: 'active',
  replicas: 3,
  image: 'canary',
  specRevision: 2,
  rollout: { state: 'halted', reason: 'new ones failed' },
  counts: { current: 1, outdated: 2, ready: 2, leaving: 0 },
  members: [{ microvmId: 'm1', specRevision: 1, state: 'coming', reason: 'no room' }],
  createdAt: '2026-01-01T00:00:00.000Z',
};
const ENTRY = {
  at: '2026-01-01T00:00:00.000Z',
  cause: { by: 'groups' },
  events: [{ type: 'memberAdded', microvmId: 'm1', reason: '0 of 1 are there' }],
};

let api: ScriptedApi;
let folder: string;
let file: string;
let printed: string;
const run = async (...args: string[]) => {
  await runVolley('--url', api.url, '--data', '/nowhere', 'group', ...args);
  const { method, path, body } = api.seen.at(-1)!;
  return { method, path, body };
};

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'volley-group-'));
  file = join(folder, 'spec.json');
  writeFileSync(file, '{"image": "canary"}');
  printed = '';
  jest.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  api = await scriptedApi(({ path }, response) =>
    json(
      response,
      200,
      path.endsWith('/history') ? { entries: [ENTRY] } : path === '/v1/groups' ? { items: [GROUP] } : GROUP,
    ),
  );
});
afterEach(async () => {
  jest.restoreAllMocks();
  await api.close();
  rmSync(folder, { recursive: true });
});

it('scales, shows and deletes by name and tenant, or by id', async () => {
  expect(await run('scale', 'web', '4')).toMatchObject({
    method: 'POST',
    path: '/v1/groups/default_web/scale',
    body: { replicas: 4 },
  });
  expect(printed).toContain('halted: new ones failed');
  expect(printed).toMatch(/m1 +1 +coming +no room/);
  expect(await run('get', 'web', '--tenant', 'acme')).toMatchObject({ method: 'GET', path: '/v1/groups/acme_web' });
  expect(await run('rm', 'acme_web')).toMatchObject({ method: 'DELETE', path: '/v1/groups/acme_web' });
});

it('replaces by a spec from a file', async () => {
  const replaced = await run('replace', 'web', file, '--tenant', 'acme', '--max-surge', '0', '--max-unavailable', '2');
  expect(replaced).toMatchObject({
    method: 'PUT',
    path: '/v1/groups/acme_web/spec',
    body: { spec: { image: 'canary', tenant: 'acme' }, maxSurge: 0, maxUnavailable: 2 },
  });
});

it('says what is wrong with a file, and asks for nothing', async () => {
  writeFileSync(file, '{');
  for (const name of [file, join(folder, 'missing')]) {
    await expect(run('replace', 'web', name)).rejects.toMatchObject({ exitCode: ExitCode.usage });
  }
  expect(api.seen).toEqual([]);
});

it('lists groups and tells what was decided', async () => {
  await run();
  expect(printed).toMatch(/acme_web +active +2\/3 +2 +0 +halted/);
  await run('history', 'web');
  expect(printed).toContain('groups  memberAdded m1 0 of 1 are there');
});
