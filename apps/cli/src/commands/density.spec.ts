import { runVolley } from '../program';
import { json, scriptedApi, type ScriptedApi } from '../testing/scripted-api';

const spread = (value: number) => ({ min: value, mean: value, max: value, p99: value });

let api: ScriptedApi;
let answer: object;
let said: string;

beforeEach(async () => {
  said = '';
  const say = (text: unknown) => Boolean((said += String(text)));
  for (const stream of [process.stdout, process.stderr]) jest.spyOn(stream, 'write').mockImplementation(say);
  api = await scriptedApi((_, response) => json(response, 200, answer));
});
afterEach(async () => {
  jest.restoreAllMocks();
  await api.close();
});

const run = (...args: string[]) => runVolley('--url', api.url, '--data', '/nowhere', 'density', ...args);

it('shows the past of a host', async () => {
  const figures = { microvms: spread(7), hostUsedMiB: spread(900), vcpuWaitP99Percent: { ...spread(1), max: 4.25 } };
  answer = { host: {}, history: { from: 0, to: 120_000, stepMs: 60_000, points: [{ at: 0, readings: 60, figures }] } };
  await run('--host', 'host-a', '--from', '2026-01-31T03:00:00Z', '--step', '1m');
  const { path, query } = api.seen[0]!;
  expect([path, query.toString()]).toEqual(['/v1/hosts/host-a/density', 'from=2026-01-31T03%3A00%3A00Z&step=1m']);
  expect(said).toMatch(/ 7 .* 900 .* 4\.3 /);
});

it('shows where the memory of a host is, and what one more costs', async () => {
  answer = {
    host: {
      memory: { totalKiB: 2_048, freeKiB: 1_024, microvmPageTablesKiB: 1_024 },
      cpu: { totalCores: 2, guestCores: 0.5 },
      marginalCost: { kib: 1_024, errorKiB: 512, method: 'slope' },
      fits: { microvms: 12, binding: 'promisedMemory' },
      exhaustion: null,
    },
  };
  await run('--host', 'host-a');
  expect(said).toMatch(/microvm page tables +1\.0 MiB/);
  expect(said).toContain('1.0 MiB +/- 0.5 MiB (slope)');
  expect(said).toContain('12 more, bound by promised memory');
  expect(said).toContain('no trend');
});

it('asks for one microVM', async () => {
  answer = {
    promised: { vcpus: 1, memoryMiB: 16 },
    memory: { residentKiB: 328, proportionalKiB: 146, privateKiB: 104, guestKiB: 36, sharedKiB: 0, sharedWith: 'base' },
    overhead: { vmmKiB: 60, pageTablesKiB: 28, kernelStacksKiB: 48, kernelKiB: null },
    cpu: { cores: 0.5, guestCores: 0, vcpuWaitPercent: 12, throttled: null },
    hints: { balloonedKiB: null },
  };
  await run('--microvm', 'm1');
  expect(api.seen[0]!.path).toBe('/v1/microvms/m1/density');
  for (const words of ['shared with base', 'not counted here', '12.0 %', 'no limit']) expect(said).toContain(words);
});
