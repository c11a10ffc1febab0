import type { DrainPlan, Host } from '#protocol';
import { runVolley } from '../program';
import { json, scriptedApi, type ScriptedApi, type SeenRequest } from '../testing/scripted-api';

const progress = { total: 3, moved: 1, moving: 1, waiting: 1, stopped: 0, failed: 0 };
const draining = (change: Partial<Host> = {}): Partial<Host> => ({
  id: 'host-a',
  state: 'draining',
  drain: { parallel: 2, graceMs: 3_000, kept: 'stop', requestedAt: 1, progress },
  ...change,
});

let api: ScriptedApi;
let answers: (request: SeenRequest) => object;
let said: string;

beforeEach(async () => {
  said = '';
  const say = (text: unknown) => Boolean((said += String(text)));
  for (const stream of [process.stdout, process.stderr]) jest.spyOn(stream, 'write').mockImplementation(say);
  answers = () => draining();
  api = await scriptedApi((request, response) => json(response, 200, answers(request)));
});
afterEach(async () => {
  jest.restoreAllMocks();
  await api.close();
});

const run = (...args: string[]) => runVolley('--url', api.url, '--data', '/nowhere', 'drain', 'host-a', ...args);

it('asks for a drain as it was told to, and shows how far it is', async () => {
  await run('--parallel', '2', '--grace', '3s', '--kept', 'stop');
  expect(api.seen).toMatchObject([
    { method: 'POST', path: '/v1/hosts/host-a/drain', body: { parallel: 2, graceMs: 3_000, kept: 'stop' } },
  ]);
  expect(said).toBe('host-a draining: 1 moved, 1 moving, 1 waiting of 3\n');
});

it('leaves out what it was not told', async () => {
  await run();
  expect(api.seen[0]!.body).toEqual({});
});

it('cancels', async () => {
  answers = () => ({ id: 'host-a', state: 'ready' });
  await run('--cancel');
  expect(api.seen).toMatchObject([{ method: 'DELETE', path: '/v1/hosts/host-a/drain' }]);
  expect(said).toBe('host-a ready\n');
});

it('waits until it is empty', async () => {
  answers = ({ method }) => (method === 'POST' || api.seen.length < 3 ? draining() : draining({ state: 'drained' }));
  await run('--wait');
  expect(api.seen.map(({ method }) => method)).toEqual(['POST', 'GET', 'GET']);
  expect(said).toContain('host-a drained');
});

it('does not wait for a drain that somebody cancels', async () => {
  answers = ({ method }) => (method === 'POST' ? draining() : { id: 'host-a', state: 'ready' });
  await expect(run('--wait')).rejects.toThrow('its drain was cancelled');
});

it('shows a plan and changes nothing', async () => {
  const plan: DrainPlan = {
    hostId: 'host-a',
    at: 1,
    parallel: 4,
    graceMs: 2_000,
    kept: 'wait',
    counts: { moves: 1, waitsForRoom: 0, waitsForItsEnd: 1, stops: 0, settles: 0 },
    steps: [
      {
        microvmId: '01hzzzzzzzzzzzzzzzzzzzzzzz',
        name: 'web',
        tenant: 'acme',
        state: 'running',
        fate: 'moves',
        to: 'host-b',
        reason: 'is ended here and starts there',
        loses: ['memory', 'disks'],
      },
    ],
    omitted: 1,
    estimate: { leastMs: 1_000, mostMs: 3_000 },
  };
  answers = () => plan;
  await run('--preview', '--grace', '2s');
  expect(api.seen).toMatchObject([{ method: 'GET', path: '/v1/hosts/host-a/drain-plan' }]);
  expect(api.seen[0]!.query.get('grace')).toBe('2000ms');
  for (const words of ['host-b', 'memory, disks', 'and 1 more', '1 moves, 1 waits for its end', '1.00 s to 3.00 s'])
    expect(said).toContain(words);
});
