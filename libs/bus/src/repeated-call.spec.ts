import { OperationError } from '#protocol';
import { repeatedCall } from './repeated-call';

const FIRST_MS = 1_000;
const DEADLINE_MS = 15_000;

/** Attempts whose outcome a test decides. */
class Attempts {
  readonly sentAtMs: number[] = [];
  readonly repeated: boolean[] = [];
  readonly answer: ((text: string) => void)[] = [];
  readonly fail: ((error: Error) => void)[] = [];
  readonly #startedMs = performance.now();

  readonly attempt = (repeated: boolean): Promise<string> => {
    const sentAtMs = performance.now() - this.#startedMs;
    this.sentAtMs.push(Math.round(sentAtMs));
    this.repeated.push(repeated);
    return new Promise((resolve, reject) => {
      this.answer.push(resolve);
      this.fail.push(reject);
      const late = new OperationError('timeout', 'no reply');
      setTimeout(() => reject(late), Math.max(0, DEADLINE_MS - sentAtMs));
    });
  };
}

describe('repeatedCall', () => {
  let attempts: Attempts;
  let outcome: Promise<unknown>;

  beforeEach(() => {
    jest.useFakeTimers();
    jest.spyOn(Math, 'random').mockReturnValue(0);
    attempts = new Attempts();
    outcome = repeatedCall({ attempt: attempts.attempt, firstMs: FIRST_MS, deadlineMs: DEADLINE_MS }).catch(
      (error: unknown) => error,
    );
  });
  afterEach(() => {
    jest.useRealTimers();
    jest.restoreAllMocks();
  });

  const pass = (ms: number): Promise<void> => jest.advanceTimersByTimeAsync(ms);
  const fail = async (at: number, code: 'overloaded' | 'unavailable' | 'conflict', retryAfterMs?: number) => {
    attempts.fail[at]!(new OperationError(code, 'no', undefined, retryAfterMs));
    await pass(0);
  };
  const isSettled = async (): Promise<boolean> => {
    const open = Symbol('open');
    return (await Promise.race([outcome, Promise.resolve(open)])) !== open;
  };

  it('is sent once where it is answered, and leaves no timer of its own', async () => {
    await pass(900);
    attempts.answer[0]!('here');
    expect(await outcome).toBe('here');
    await pass(60_000);
    expect(attempts.repeated).toEqual([false]);
  });

  it('is repeated ever less often, and ends at the deadline with an open outcome', async () => {
    await pass(DEADLINE_MS - 1);
    expect(attempts.sentAtMs).toEqual([0, 1_000, 2_000, 4_000, 8_000]);
    expect(attempts.repeated).toEqual([false, true, true, true, true]);
    expect(await isSettled()).toBe(false);
    await pass(2);
    expect(await outcome).toMatchObject({ code: 'timeout' });
    await pass(60_000);
    expect(attempts.sentAtMs).toHaveLength(5);
  });

  it('takes a late answer to an earlier attempt', async () => {
    await pass(5_000);
    attempts.answer[0]!('late');
    expect(await outcome).toBe('late');
  });

  it('ends with any error but a refusal, whichever attempt gets it', async () => {
    await pass(2_500);
    await fail(1, 'conflict');
    expect(await outcome).toMatchObject({ code: 'conflict' });
  });

  it.each(['overloaded', 'unavailable'] as const)('is refused (%s) when the first attempt is', async (code) => {
    await fail(0, code, 700);
    expect(await outcome).toMatchObject({ code, retryAfterMs: 700 });
    expect(attempts.sentAtMs).toEqual([0]);
  });

  it('is refused when each of its attempts was, were it late', async () => {
    await pass(1_500);
    await fail(0, 'overloaded');
    expect(await isSettled()).toBe(false);
    await fail(1, 'overloaded', 3_000);
    expect(await outcome).toMatchObject({ code: 'overloaded', retryAfterMs: 3_000 });
  });

  it('waits as long as it is told while an attempt may still be answered', async () => {
    await pass(1_500);
    await fail(1, 'overloaded', 5_000);
    await pass(4_999);
    expect(attempts.sentAtMs).toEqual([0, 1_000]);
    await pass(2);
    expect(attempts.sentAtMs).toEqual([0, 1_000, 6_500]);
    attempts.answer[0]!('after all');
    expect(await outcome).toBe('after all');
  });

  it('looks for somebody four times a second while nobody is there, and goes on as before when somebody is', async () => {
    await pass(1_000);
    for (const at of [1, 2, 3]) {
      await fail(at, 'unavailable');
      await pass(250);
    }
    expect(attempts.sentAtMs).toEqual([0, 1_000, 1_250, 1_500, 1_750]);
    await pass(3_000);
    expect(attempts.sentAtMs.slice(5)).toEqual([2_750, 4_750]);
  });

  it('has an open outcome where an attempt went unanswered and all others were refused', async () => {
    attempts.fail[0]!(new OperationError('timeout', 'the connection was closed'));
    for (let atMs = 0, refused = 1; atMs < DEADLINE_MS; atMs += 100) {
      await pass(100);
      while (refused < attempts.fail.length) await fail(refused++, 'overloaded');
    }
    await pass(DEADLINE_MS);
    expect(await outcome).toMatchObject({ code: 'timeout', message: 'the connection was closed' });
  });
});
