import pino from 'pino';
import type { GuardAct } from '#protocol';
import { Admission, type GuardReading, type ReclaimCandidate } from '#scheduling';
import { GuardKeeper } from './guard-keeper';
import { WaitWatch } from './wait-watch';

const CALM = { cpuPressure: 0, memoryPressure: 0, availableMemory: 60, availableMiB: 600, usableMiB: 1_000 };
const capacity = { slots: 9, cpus: 2, memoryMiB: 1_000, reserveMiB: 0, overcommit: { cpu: 9, memory: 9 } };

function keeperOf() {
  const clock = { ms: 0 };
  const reading: Omit<GuardReading, 'vcpuWait'> = { ...CALM };
  const admission = new Admission(capacity);
  const did: string[] = [];
  const told: GuardAct[] = [];
  const pooled = ['one', 'two'];
  let candidates: Omit<ReclaimCandidate, 'idleMs'>[] = [];
  const keeper = new GuardKeeper({
    gauges: { read: () => ({ ...reading }) },
    waits: { guaranteedWait: () => null, idleMs: () => 60_000 },
    admission,
    reclaimer: {
      candidates: () => candidates,
      balloon: (id, mib) => did.push(`balloon ${id} ${mib}`),
      suspend: (id) => did.push(`suspend ${id}`),
      evict: (id, reason) => did.push(`evict ${id}: ${reason}`),
    },
    giveUpPools: () => pooled.splice(0).length,
    tell: (act) => told.push(act),
    nowMs: () => clock.ms,
    wallMs: () => 1_000_000 + clock.ms,
    log: pino({ level: 'silent' }),
  });
  const look = (availableMemory: number): void => {
    Object.assign(reading, { availableMemory, availableMiB: availableMemory * 10 });
    clock.ms += 2_000;
    keeper.look();
  };
  return { keeper, admission, look, did, told, pooled, hold: (...held: typeof candidates) => (candidates = held) };
}

const held = (microvmId: string, change: Partial<ReclaimCandidate> = {}): Omit<ReclaimCandidate, 'idleMs'> => ({
  ...{ microvmId, class: 'bestEffort', memoryMiB: 400, residentMiB: 100 },
  ...{ balloonMiB: undefined, canSuspend: false, isLeaving: false },
  ...change,
});

describe('the guards of a host', () => {
  it("given memory that goes, then what waits in pools goes first, being nobody's", () => {
    const { look, did, told, pooled, hold } = keeperOf();
    hold(held('a', { balloonMiB: 0 }));
    look(20);
    expect([pooled.length, did, told]).toEqual([2, [], []]);
    look(14);
    expect([pooled.length, did]).toEqual([0, []]);
    look(13);
    expect(told).toEqual([
      {
        ...{ act: 'poolsGivenUp', at: 1_004_000, clones: 2 },
        reason: 'available memory 14 % (140 of 1000 MiB) is below 15 %',
        reading: expect.objectContaining({ availableMiB: 140 }) as GuardReading,
      },
    ]);
    look(11);
    expect(did).toEqual(['balloon a 300']);
  });

  it('given memory that goes, then admission shuts, milder steps come first, and the report says all of it', () => {
    const { keeper, admission, look, did, told, hold } = keeperOf();
    hold(held('a', { balloonMiB: 0 }), held('b', { canSuspend: true }), held('c', { residentMiB: 200 }));
    look(60);
    expect(keeper.report().gates.bestEffort).toEqual({ open: true, since: 1_000_000 });
    look(11);
    expect(did).toEqual(['balloon a 300']);
    const demand = { vcpus: 1, memoryMiB: 1, tenant: 't', coresidency: { mode: 'shared' as const, neverWith: [] } };
    expect(admission.request('x', { ...demand, class: 'bestEffort' })).toMatchObject({
      reason: expect.stringContaining('available memory 11 % is below 12 %') as string,
    });
    expect(admission.request('y', demand).admitted).toBe(true);
    hold(held('b', { canSuspend: true }), held('c', { residentMiB: 200 }));
    look(9);
    hold(held('c', { residentMiB: 200 }));
    look(7);
    expect(did.slice(1)).toEqual([
      'suspend b',
      'evict c: available memory 7 % (70 of 1000 MiB) is below 8 %; of 1 best-effort microVMs it held 200 MiB',
    ]);
    expect(keeper.report()).toMatchObject({
      gates: { bestEffort: { open: false, since: 1_004_000 }, guaranteed: { open: true } },
      reclaimed: { ballooned: 1, suspended: 1, evicted: 1 },
    });
    look(60);
    look(60);
    look(60);
    expect(keeper.report().gates.bestEffort.open).toBe(true);
    const brief = (one: GuardAct) =>
      one.act === 'admission' ? [one.open, one.afterMs] : one.act === 'reclaim' ? [one.step, one.microvmId] : [one.act];
    expect(told.map(brief)).toEqual([
      [false, 4_000],
      ['poolsGivenUp'],
      ['balloon', 'a'],
      ['suspend', 'b'],
      ['evict', 'c'],
      [true, 10_000],
    ]);
    expect(told[0]).toMatchObject({ reason: 'available memory 11 % is below 12 %', reading: { availableMiB: 110 } });
    expect(told.at(-1)).toMatchObject({
      reason: 'available memory 11 % is below 12 %',
      reading: { availableMiB: 600 },
    });
    expect(admission.request('x', { ...demand, class: 'bestEffort' }).admitted).toBe(true);
  });

  it('given plenty, then balloons are given back', () => {
    const { look, did, hold } = keeperOf();
    hold(held('a', { balloonMiB: 0 }));
    look(11);
    hold(held('a', { balloonMiB: 300 }));
    for (let i = 0; i < 8; i++) look(60);
    expect(did).toEqual(['balloon a 300', 'balloon a 0']);
  });
});

describe('what vCPUs waited', () => {
  const watchOf = () => {
    const clock = { ms: 0 };
    const watch = new WaitWatch({
      isGuaranteed: (id) => (id === 'gone' ? undefined : !id.startsWith('be')),
      nowMs: () => clock.ms,
    });
    const measure = (id: string, runMs: number, delayMs: number, epoch = 1): void =>
      watch.round([{ id, epoch, cpuCores: runMs > 0 ? 0.5 : 0, runNs: runMs * 1e6, delayNs: delayMs * 1e6 }]);
    return { clock, watch, measure };
  };

  it('counts from the second measurement on: everybody waits while it starts', () => {
    const { clock, watch, measure } = watchOf();
    measure('a', 100, 900);
    expect(watch.guaranteedWait()).toBeNull();
    clock.ms = 1_000;
    measure('a', 190, 910);
    expect(watch.guaranteedWait()).toBeCloseTo(10);
    clock.ms = 20_000;
    expect(watch.guaranteedWait()).toBeNull();
  });

  it('is that of the guaranteed alone, and no figure where they wanted next to nothing', () => {
    const { clock, watch, measure } = watchOf();
    for (const id of ['a', 'be']) measure(id, 0, 0);
    clock.ms = 1_000;
    measure('be', 100, 900);
    measure('a', 1, 9);
    expect(watch.guaranteedWait()).toBeNull();
    measure('a', 401, 9);
    expect(watch.guaranteedWait()).toBeCloseTo((100 * 9) / 410);
  });

  it('is that of ten seconds together: a moment of waiting does not stand for all of them', () => {
    const { clock, watch, measure } = watchOf();
    measure('a', 0, 0);
    for (let i = 1; i <= 9; i++) {
      clock.ms = i * 1_000;
      measure('a', i * 100, i === 9 ? 100 : 0);
    }
    expect(watch.guaranteedWait()).toBeCloseTo(10);
    for (let i = 10; i <= 19; i++) {
      clock.ms = i * 1_000;
      measure('a', i * 100, 100);
    }
    expect(watch.guaranteedWait()).toBe(0);
  });

  it('tells since when a guest has nothing to do', () => {
    const { clock, watch, measure } = watchOf();
    measure('a', 10, 0);
    clock.ms = 3_000;
    measure('a', 0, 0);
    expect(watch.idleMs('a')).toBe(3_000);
    measure('a', 10, 0);
    expect([watch.idleMs('a'), watch.idleMs('b')]).toEqual([0, undefined]);
  });
});
