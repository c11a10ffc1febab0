import { pino } from 'pino';
import { ReplicaLeases } from './replica-leases';

const LEASE_MS = 3_000;

/** A bucket that hears of its own writes only when a test lets it. */
class SlowBucket {
  #tell: ((entry: unknown) => void) | undefined;
  #last: unknown;

  put(key: string, text: string): Promise<void> {
    this.#last = { operation: 'PUT', key, json: () => JSON.parse(text) as unknown };
    return Promise.resolve();
  }

  watch(): Promise<unknown> {
    const next = (): Promise<unknown> =>
      new Promise((resolve) => (this.#tell = (value) => resolve({ value, done: false })));
    return Promise.resolve({ stop: () => {}, [Symbol.asyncIterator]: () => ({ next }) });
  }

  delete = (): Promise<void> => Promise.resolve();
  tell = (): void => this.#tell?.(this.#last);
}

describe('a lease that ran out between two looks', () => {
  afterEach(() => jest.restoreAllMocks());

  it('belonged to nobody meanwhile, and both is told before it is in force again', async () => {
    const beats: (() => void)[] = [];
    jest.spyOn(global, 'setInterval').mockImplementation((beat) => (beats.push(beat as () => void), 0 as never));
    let passedMs = 0;
    jest.spyOn(performance, 'now').mockImplementation(() => passedMs);
    const bucket = new SlowBucket();
    const options = { bucket: 'b', id: 'a', machine: 1, leaseMs: LEASE_MS, logger: pino({ level: 'silent' }) };
    const Leases = ReplicaLeases as unknown as new (bucket: unknown, of: typeof options) => ReplicaLeases;
    const leases = new Leases(bucket, options);
    const joined = leases.join();
    await new Promise((resolve) => setImmediate(resolve));
    bucket.tell();
    await joined;
    const told: number[] = [];
    leases.onChange(() => told.push(leases.members.length));

    passedMs = LEASE_MS + 10;
    expect(leases.holds).toBe(false); // What somebody who asks is told, and acts upon.
    beats[0]!();
    await new Promise((resolve) => setImmediate(resolve));
    expect(leases.holds).toBe(true);
    expect(told).toEqual([0, 1]);
    await leases.leave();
  });
});
