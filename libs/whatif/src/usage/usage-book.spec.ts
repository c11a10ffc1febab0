import type { MicrovmSample } from '#protocol';
import { UsageBook } from './usage-book';

const sample = (id: string, change: Partial<MicrovmSample> = {}): MicrovmSample => ({
  ...{ id, epoch: 1, proportionalKiB: 10 * 1024, privateKiB: 0, overheadKiB: 0, cpuCores: 0.5, vcpuWaitPercent: 2 },
  ...change,
});

describe('UsageBook', () => {
  it('has for each interval the mean and the highest CPU, the mean wait and the most memory', () => {
    const book = new UsageBook('host-a', 10_000);
    expect(book.take([sample('a')], 20_100)).toBeUndefined();
    expect(
      book.take([sample('a', { cpuCores: 1, proportionalKiB: 30 * 1024, vcpuWaitPercent: 4 })], 25_000),
    ).toBeUndefined();
    expect(book.take([sample('a')], 30_001)).toEqual({
      ...{ version: 1, hostId: 'host-a', from: 20_000, to: 30_000, whole: true },
      microvms: [['a', 1, 750, 1_000, 30, 30]],
    });
  });

  it('records again what has changed noticeably, what is there anew, and now and then all', () => {
    const book = new UsageBook('host-a', 1_000);
    let at = 0;
    const next = (...samples: MicrovmSample[]): string[] | undefined =>
      book.take(samples, (at += 1_000))?.microvms.map(([id]) => id);
    next(sample('a'), sample('b'));
    expect(next(sample('a', { cpuCores: 0.505 }), sample('b', { cpuCores: 0.9 }))).toEqual(['a', 'b']);
    expect(next(sample('a', { epoch: 2 }), sample('b', { cpuCores: 0.9 }), sample('c'))).toEqual(['b']);
    expect(next(sample('b', { cpuCores: 0.9, proportionalKiB: 12 * 1024 }))).toEqual(['a', 'c']);
    expect(next()).toEqual(['b']);
    for (let i = 0; i < 14; i++) expect(next(sample('b', { cpuCores: 0.9, proportionalKiB: 12 * 1024 }))).toEqual([]);
    next(sample('b', { cpuCores: 0.9, proportionalKiB: 12 * 1024 }));
    expect(next(sample('b', { cpuCores: 0.9, proportionalKiB: 12 * 1024 }))).toEqual([]);
    const whole = book.take([], (at += 1_000))!;
    expect(whole).toMatchObject({ whole: true, microvms: [['b', 1, 900, 900, 20, 12]] });
  });

  it('makes the same record for two who began to listen at different times', () => {
    const [early, late] = [new UsageBook('host-a', 1_000), new UsageBook('host-a', 1_000)];
    early.take([sample('a')], 1_200);
    const samples = [sample('a', { cpuCores: 1 })];
    early.take(samples, 2_100);
    late.take(samples, 2_100);
    const { from, to } = early.take([], 3_000)!;
    expect(late.take([], 3_000)).toMatchObject({ from, to });
  });

  it('tells how far the host promises what it has when that has changed, and whenever it tells all', () => {
    const book = new UsageBook('host-a', 1_000);
    let at = 0;
    const next = (): unknown => book.take([sample('a')], (at += 1_000))?.limits;
    book.promises(2, 1);
    next();
    expect([next(), next()]).toEqual([[2, 1], undefined]);
    book.promises(2, 1.5);
    expect([next(), next()]).toEqual([[2, 1.5], undefined]);
    const told = Array.from({ length: 20 }, next);
    expect(told.filter((limits) => limits !== undefined)).toEqual([[2, 1.5]]);
  });
});
