import fc from 'fast-check';
import { SHARED, type Coresidency } from '#protocol';
import { chooseHost, SAMPLE } from './choose-host';
import type { Demand } from './demand';
import { FILTERS, passesAll, REPORT_MAX_AGE_MS, type Occasion } from './filters';
import type { HostRow } from './host-table';
import { Occupants } from './occupants';
import { AT, demand, host, tableOf } from './scheduling.fixtures';
import { scoreHost, totalScore } from './scores';
import { seededNumbers } from './seeded-numbers';

const GROUP = 'default app=web';
const tenants = fc.constantFrom('default', 'other', 'third');
const rules: fc.Arbitrary<Coresidency> = fc.oneof(
  fc.constant(SHARED),
  fc.record({ mode: fc.constantFrom('shared' as const, 'dedicated' as const), neverWith: fc.array(tenants) }),
);

const anyRow: fc.Arbitrary<Partial<HostRow>> = fc.record({
  state: fc.constantFrom('ready', 'ready', 'ready', 'draining'),
  kvm: fc.constantFrom(true, true, false),
  network: fc.boolean(),
  labels: fc.constantFrom<Record<string, string>>({}, { zone: 'a' }, { zone: 'b' }),
  reportedAt: fc.constantFrom(AT, AT, AT - REPORT_MAX_AGE_MS - 1, null),
  free: fc.record({
    slots: fc.integer({ min: 0, max: 3 }),
    vcpus: fc.integer({ min: 0, max: 4 }),
    memoryMiB: fc.integer({ min: 0, max: 128 }),
  }),
  pressurePercent: fc.integer({ min: 0, max: 100 }),
  occupants: fc
    .array(fc.record({ tenant: tenants, coresidency: rules, count: fc.integer({ min: 1, max: 3 }) }), { maxLength: 3 })
    .map((entries) => new Occupants(entries)),
  groups: fc.constantFrom(new Map<string, number>(), new Map([[GROUP, 1]])),
});

const anyDemand: fc.Arbitrary<Partial<Demand>> = fc.record({
  network: fc.boolean(),
  vcpus: fc.integer({ min: 1, max: 3 }),
  memoryMiB: fc.integer({ min: 1, max: 100 }),
  tenant: tenants,
  coresidency: rules,
  excluded: fc.subarray(['h0', 'h1']),
  hostLabels: fc.constantFrom<Record<string, string>>({}, {}, { zone: 'a' }),
  affinity: fc.constantFrom([], [], [GROUP]),
  antiAffinity: fc.constantFrom([], [], [GROUP]),
});

const occasions = fc.tuple(fc.array(anyRow, { maxLength: 14 }), anyDemand).map(([rows, asked]): Occasion => ({
  table: tableOf(...rows.map((row, i) => host(`h${i}`, row))),
  demand: demand(asked),
  at: AT,
}));
const seeds = fc.integer({ min: 0, max: 2 ** 32 - 1 });

/** What the filters say in other words, written down without them. */
function fits(row: HostRow, { demand: asked, table }: Occasion): boolean {
  const others = [...row.occupants.entries()].filter(({ tenant }) => tenant !== asked.tenant);
  const inGroup = (group: string) => table.rows.some(({ groups }) => groups.has(group));
  return (
    row.state === 'ready' &&
    row.kvm &&
    (row.network || !asked.network) &&
    row.reportedAt !== null &&
    AT - row.reportedAt <= REPORT_MAX_AGE_MS &&
    row.free.slots > 0 &&
    row.free.vcpus >= asked.vcpus &&
    row.free.memoryMiB >= asked.memoryMiB &&
    row.capacity.vcpus >= asked.vcpus &&
    !asked.excluded.includes(row.hostId) &&
    Object.entries(asked.hostLabels).every(([key, value]) => row.labels[key] === value) &&
    others.every(
      ({ tenant, coresidency: { mode, neverWith } }) =>
        mode === 'shared' &&
        asked.coresidency.mode === 'shared' &&
        !neverWith.includes(asked.tenant) &&
        !asked.coresidency.neverWith.includes(tenant),
    ) &&
    asked.affinity.every((group) => row.groups.has(group) || !inGroup(group)) &&
    asked.antiAffinity.every((group) => !row.groups.has(group))
  );
}

/** Filters all, shuffles what passes by the same chance, compares the first two: slow, and plain to see. */
function chooseNaively(occasion: Occasion, seed: number): string | null {
  const random = seededNumbers(seed);
  const pool = [...occasion.table.rows];
  const shuffled: HostRow[] = [];
  while (pool.length > 0) {
    const pick = Math.floor(random() * pool.length);
    shuffled.push(pool[pick]!);
    pool[pick] = pool.at(-1)!;
    pool.pop();
  }
  const sampled = shuffled.filter((row) => fits(row, occasion)).slice(0, SAMPLE);
  const totals = sampled.map((row) => totalScore(scoreHost(row, occasion.demand)));
  return totals.length === 0 ? null : sampled[totals.indexOf(Math.max(...totals))]!.hostId;
}

describe('choosing a host', () => {
  it('takes the emptier of two', () => {
    const full = host('full', { free: { slots: 5, vcpus: 2, memoryMiB: 100 } });
    const occasion = { table: tableOf(full, host('empty')), demand: demand(), at: AT };
    expect(chooseHost(occasion, 1).hostId).toBe('empty');
  });

  it('chooses what a naive search would, from exactly those hosts that no filter refuses', () => {
    fc.assert(
      fc.property(occasions, seeds, (occasion, seed) => {
        const passing = occasion.table.rows.filter((row) => passesAll(row, occasion)).map(({ hostId }) => hostId);
        expect(passing).toEqual(occasion.table.rows.filter((row) => fits(row, occasion)).map(({ hostId }) => hostId));
        const { hostId, compared } = chooseHost(occasion, seed);
        expect(hostId).toBe(chooseNaively(occasion, seed));
        expect(compared).toHaveLength(Math.min(SAMPLE, passing.length));
      }),
      { numRuns: 1_000 },
    );
  });

  it.each<[string, Partial<HostRow>, Partial<Demand>]>([
    ['state', { state: 'cordoned' }, {}],
    ['state', { state: 'draining' }, {}],
    ['slots', { free: { slots: 0, vcpus: 8, memoryMiB: 1024 } }, {}],
    ['memory', { free: { slots: 1, vcpus: 8, memoryMiB: 31 } }, {}],
    ['vcpus', { free: { slots: 1, vcpus: 1, memoryMiB: 1024 } }, { vcpus: 2 }],
    ['notExcluded', {}, { excluded: ['one'] }],
    ['report', { reportedAt: null }, {}],
    ['report', { reportedAt: AT - REPORT_MAX_AGE_MS - 1 }, {}],
    ['kvm', { kvm: false }, {}],
    ['image', { images: [] }, {}],
    ['image', { linux: false }, { builtinImage: null, imageDigest: 'sha256:1' }],
    ['network', { network: false }, { network: true }],
    ['size', { capacity: { slots: 10, vcpus: 1, memoryMiB: 1024 } }, { vcpus: 2 }],
    ['hostLabels', { labels: { zone: 'b' } }, { hostLabels: { zone: 'a' } }],
    [
      'coresidency',
      { occupants: new Occupants([{ tenant: 'b', coresidency: SHARED, count: 1 }]) },
      { coresidency: { mode: 'dedicated', neverWith: [] } },
    ],
    [
      'coresidency',
      {
        occupants: new Occupants([{ tenant: 'b', coresidency: { mode: 'shared', neverWith: ['default'] }, count: 1 }]),
      },
      {},
    ],
    ['antiAffinity', { groups: new Map([[GROUP, 1]]) }, { antiAffinity: [GROUP] }],
  ])('refuses by filter %s alone', (name, change, asked) => {
    const occasion = { table: tableOf(host('one', change)), demand: demand(asked), at: AT };
    expect(chooseHost(occasion, 0)).toEqual({ hostId: null, compared: [] });
    const row = occasion.table.rows[0]!;
    expect(FILTERS.filter((filter) => !filter.passes(row, occasion)).map((filter) => filter.name)).toEqual([name]);
  });

  it('puts the first of a group anywhere and the next ones with it', () => {
    const table = tableOf(host('a'), host('b'));
    const asked = demand({ affinity: [GROUP], groups: [GROUP] });
    const first = chooseHost({ table, demand: asked, at: AT }, 7).hostId!;
    table.debit(first, asked);
    for (let seed = 0; seed < 20; seed++) {
      expect(chooseHost({ table, demand: asked, at: AT }, seed).hostId).toBe(first);
    }
  });

  it('spreads a group evenly over a small fleet, whatever else speaks against it', () => {
    const crowded = { free: { slots: 9, vcpus: 1.5, memoryMiB: 100 }, pressurePercent: 90 };
    const table = tableOf(host('a'), host('b', crowded), host('c'));
    const asked = demand({ spread: [GROUP], groups: [GROUP], vcpus: 0.1, memoryMiB: 1 });
    for (let i = 0; i < 9; i++) table.debit(chooseHost({ table, demand: asked, at: AT }, i).hostId!, asked);
    expect(table.rows.map(({ groups }) => groups.get(GROUP))).toEqual([3, 3, 3]);
  });

  it('spreads one tenant over equal hosts, and everything over ten of them', () => {
    const table = tableOf(...Array.from({ length: 10 }, (_, i) => host(`h${i}`)));
    const counts = new Map<string, number>();
    for (let seed = 0; seed < 1_000; seed++) {
      const { hostId } = chooseHost({ table, demand: demand(), at: AT }, seed);
      counts.set(hostId!, (counts.get(hostId!) ?? 0) + 1);
    }
    expect(counts.size).toBe(10);
    expect(Math.min(...counts.values())).toBeGreaterThan(50);
    const mine = host('mine', { occupants: new Occupants([{ tenant: 'default', coresidency: SHARED, count: 5 }]) });
    const occasion = { table: tableOf(mine, host('theirs')), demand: demand(), at: AT };
    expect(chooseHost(occasion, 1).hostId).toBe('theirs');
  });

  it('rather takes a host that has the image', () => {
    const digest = 'sha256:1';
    const occasion = {
      table: tableOf(host('without'), host('with', { cachedImages: [digest] })),
      demand: demand({ builtinImage: null, imageDigest: digest }),
      at: AT,
    };
    expect(chooseHost(occasion, 1).hostId).toBe('with');
  });
});
