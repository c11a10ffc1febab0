import { RepeatedComparison } from './repeated-comparison';

describe('a repeated comparison', () => {
  let done: number;
  let outcomes: (() => Promise<void>)[];
  const failures: string[] = [];
  const begin = (): RepeatedComparison => {
    const comparison = new RepeatedComparison({
      compare: () => {
        done++;
        return outcomes.shift()?.() ?? Promise.resolve();
      },
      failed: ({ message }) => failures.push(message),
      everyMs: 1_000,
      retryMs: 100,
    });
    comparison.soon();
    return comparison;
  };

  beforeEach(() => {
    jest.useFakeTimers();
    [done, outcomes] = [0, []];
  });
  afterEach(() => jest.useRealTimers());

  it('is done at once, regularly, and when it is asked for, until it is stopped', async () => {
    const comparison = begin();
    await jest.advanceTimersByTimeAsync(0);
    expect(done).toBe(1);
    await jest.advanceTimersByTimeAsync(2_000);
    expect(done).toBe(3);
    comparison.soon();
    await jest.advanceTimersByTimeAsync(0);
    expect(done).toBe(4);
    comparison.stop();
    comparison.soon();
    await jest.advanceTimersByTimeAsync(5_000);
    expect(done).toBe(4);
  });

  it('is done again soon after it has failed', async () => {
    outcomes = [() => Promise.reject(new Error('away'))];
    begin();
    await jest.advanceTimersByTimeAsync(99);
    expect([done, failures]).toEqual([1, ['away']]);
    await jest.advanceTimersByTimeAsync(1);
    expect(done).toBe(2);
  });

  it('that was under way when it was asked for is done once more', async () => {
    let finish!: () => void;
    outcomes = [() => new Promise((resolve) => (finish = resolve))];
    const comparison = begin();
    await jest.advanceTimersByTimeAsync(0);
    comparison.soon();
    comparison.soon();
    await jest.advanceTimersByTimeAsync(5_000);
    expect(done).toBe(1);
    finish();
    await jest.advanceTimersByTimeAsync(0);
    expect(done).toBe(2);
  });
});
