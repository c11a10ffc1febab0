import { runVolley } from '../program';
import { json, scriptedApi, type ScriptedApi } from '../testing/scripted-api';
import { VIEWS } from './top-reader';
import { afterKey, screenOf, stateOf, type TopState } from './top-state';

const work = (readBytes: number) => ({ reads: 1, writes: 0, readBytes, writeBytes: 0, throttled: 0 });
const host = (hostId: string, cpuCores: number, readBytes = 0) => ({
  ...{ hostId, microvms: 3, commitment: { vcpus: 30, memoryMiB: 4_800 } },
  ...{ used: { cpuCores, memoryMiB: 600 }, overcommit: { cpu: 15, memory: 2.5 }, headroom: { memoryMiB: 1_200 } },
  ...{ vcpuWaitPercent: { p99: 4.25 }, marginalCost: { kib: 1_024 }, fits: { microvms: 12 } },
  ...{
    exhaustion: { seconds: 7_200 },
    microvmSums: { residentKiB: 2_048, throttledMs: 0, disk: work(readBytes), network: work(0) },
  },
  guards: { gates: { guaranteed: { open: true }, bestEffort: { open: false } } },
});
const look = (atMs: number, ...hosts: ReturnType<typeof host>[]) => ({
  atMs,
  items: new Map(hosts.map((one) => [one.hostId, one])),
});
const hosts = VIEWS[0]!;
const firstWords = (text: string): string[] => text.split('\n').map((line) => line.split(' ')[0]!);

describe('volley top', () => {
  it('shows what hosts promise, take and have left, with rates by the look before', () => {
    const screen = screenOf(
      stateOf(hosts)!,
      look(3_000, host('a', 1.5, 5 * 2 ** 20)),
      look(1_000, host('a', 1, 2 ** 20)),
    );
    for (const words of ['4800 MiB', '2.0 MiB', '600 MiB', '1.50', '4.3 %', '2.0 MiB/s', '15.00', '2.50', '1200 MiB'])
      expect(screen).toContain(words);
    for (const words of ['1.0 MiB', ' 12 ', '2 h 0 min', 'open/shut']) expect(screen).toContain(words);
    // Without a look before there are no rates, and a counter that began anew tells none.
    expect(screenOf(stateOf(hosts)!, look(3_000, host('a', 1)), undefined)).not.toContain('/s ');
    expect(screenOf(stateOf(hosts)!, look(3_000, host('a', 1)), look(1_000, host('a', 1, 9)))).not.toContain('/s ');
  });

  it('sorts by what is asked for, what is not known last', () => {
    const unknown = { ...host('z', 9), fits: undefined } as never;
    const seen = look(1, host('a', 1), host('b', 2), unknown);
    const by = (sort: string, reverse = false): string[] =>
      firstWords(screenOf({ ...stateOf(hosts, sort)!, reverse }, seen, undefined)).slice(2);
    expect(by('host')).toEqual(['a', 'b', 'z']);
    expect(by('cpu')).toEqual(['z', 'b', 'a']);
    expect(by('cpu', true)).toEqual(['a', 'b', 'z']);
    expect([by('fits').at(-1), by('fits', true).at(-1)]).toEqual(['z', 'z']);
    expect(stateOf(hosts, 'colour')).toBeUndefined();
  });

  it('goes by keys', () => {
    const state = stateOf(hosts)!;
    expect((afterKey(state, '>') as TopState).sort.key).toBe('microvms');
    expect((afterKey(state, '<') as TopState).sort.key).toBe('guards');
    expect((afterKey(state, 'm') as TopState).view.name).toBe('microvms');
    expect((afterKey(state, 'r') as TopState).reverse).toBe(true);
    expect([afterKey(state, 'q'), afterKey(state, '\u0003'), afterKey(state, 'x')]).toEqual([
      'quit',
      'quit',
      undefined,
    ]);
  });

  it('is cut to the terminal', () => {
    const many = Array.from({ length: 50 }, (_, i) => host(`host-${i}`, i));
    const lines = screenOf(stateOf(hosts)!, look(1, ...many), undefined, { rows: 10, columns: 40 }).split('\n');
    expect(lines.length).toBeLessThan(10);
    expect(Math.max(...lines.map(({ length }) => length))).toBe(40);
  });
});

describe('volley top on a scripted API', () => {
  let api: ScriptedApi;
  let said: string;
  beforeEach(async () => {
    said = '';
    const say = (words: unknown) => Boolean((said += String(words)));
    for (const stream of [process.stdout, process.stderr]) jest.spyOn(stream, 'write').mockImplementation(say);
    api = await scriptedApi(({ path }, response) => {
      if (path === '/v1/density') return json(response, 200, { hosts: [host('a', 1), host('b', 2)] });
      const density = {
        ...{ promised: { vcpus: 1, memoryMiB: 16 }, memory: { residentKiB: 1_024, proportionalKiB: 512 } },
        ...{ overhead: { vmmKiB: 60 }, cpu: { cores: 0.5, vcpuWaitPercent: 1, throttled: null } },
        ...{ disk: null, network: null },
      };
      const items = ['m1', 'm2'].map((id) => ({
        microvm: { id, name: null, tenant: 't', hostId: 'a', class: 'guaranteed' },
        // The other has ended since it was listed.
        density: id === 'm1' ? density : null,
      }));
      json(response, 200, { items, nextCursor: null });
    });
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    await api.close();
  });
  const run = (...args: string[]) => runVolley('--url', api.url, '--data', '/nowhere', 'top', ...args);

  it('once: looks twice and prints plainly', async () => {
    await run('--once', '--interval', '0.2', '--sort', 'cpu');
    expect(api.seen.map(({ path }) => path)).toEqual(['/v1/density', '/v1/density']);
    expect(firstWords(said).slice(2, 4)).toEqual(['b', 'a']);
    expect(said).not.toContain('\x1b');
  });

  it('as JSON, of the microVMs of a tenant, leaving out what has ended', async () => {
    await run('microvms', '--once', '--interval', '0.2', '--tenant', 't', '--json');
    expect(api.seen[0]!.query.get('tenant')).toBe('t');
    // One call for all of a page, in each of its two looks.
    expect(api.seen.map(({ path }) => path)).toEqual(['/v1/density/microvms', '/v1/density/microvms']);
    const { what, items } = JSON.parse(said) as { what: string; items: { microvm: { id: string } }[] };
    expect([what, items.map(({ microvm }) => microvm.id)]).toEqual(['microvms', ['m1']]);
  });

  it('says which columns there are', async () => {
    await expect(run('tenants', '--sort', 'colour')).rejects.toThrow(
      'tenants have no column colour; there are tenant,',
    );
  });
});
