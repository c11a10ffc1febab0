import pino from 'pino';
import { HOST_LIMITS, type HostLife } from '#lifecycle';
import { PARTITIONS } from '#protocol';
import { readyHost } from '../../../../test/support/known-hosts';
import { HostLeases } from './host-leases';

const { lease: LEASE_MS, heartbeat: HEARTBEAT_MS } = HOST_LIMITS;
const HOST = 'h1';

/** A connection whose pings a test holds up, as everything else that waits in line behind messages not read. */
class HeldLine {
  isHeldUp = false;
  #waiting: (() => void)[] = [];

  readonly isClosed = (): boolean => false;
  readonly flush = (): Promise<void> =>
    this.isHeldUp ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve();
  readonly status = (): AsyncIterable<never> => ({
    [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
  });

  catchUp(): void {
    this.isHeldUp = false;
    for (const answer of this.#waiting.splice(0)) answer();
  }
}

describe('HostLeases', () => {
  let line: HeldLine;
  let leases: HostLeases;
  let recorded: string[];
  let gain: () => void;
  let owned: boolean;

  beforeEach(() => {
    jest.useFakeTimers();
    line = new HeldLine();
    recorded = [];
    owned = true;
    const life: HostLife = readyHost(HOST);
    const hosts = {
      listen: () => {},
      all: () => [life],
      get: () => life,
      record: (hostId: string, _: unknown, [event]: { type: string }[]) => {
        recorded.push(`${hostId} ${event!.type}`);
        return Promise.resolve();
      },
    };
    const partitions = {
      owns: () => owned,
      onChange: (listener: (change: { gained: Set<number>; lost: Set<number> }) => void) => {
        gain = () => listener({ gained: new Set(Array.from({ length: PARTITIONS }, (_, i) => i)), lost: new Set() });
      },
    };
    leases = new HostLeases(
      hosts as never,
      { index: new Map() } as never,
      partitions as never,
      line as never,
      pino({ level: 'silent' }),
    );
    leases.onApplicationBootstrap();
  });
  afterEach(() => {
    leases.onModuleDestroy();
    jest.useRealTimers();
  });

  const pass = (ms: number): Promise<void> => jest.advanceTimersByTimeAsync(ms);

  it('end when a host was not heard for so long, and not while it is', async () => {
    for (let i = 0; i < 20; i++) {
      leases.heard(HOST);
      await pass(HEARTBEAT_MS);
    }
    await pass(LEASE_MS - HEARTBEAT_MS - 500);
    expect(recorded).toEqual([]);
    await pass(1_500);
    expect(recorded).toEqual([`${HOST} leaseExpired`]);
  });

  it('do not end while what hosts have said waits to be read, however long', async () => {
    line.isHeldUp = true;
    await pass(10 * LEASE_MS);
    expect(recorded).toEqual([]);
    leases.heard(HOST);
    line.catchUp();
    await pass(LEASE_MS - 500);
    expect(recorded).toEqual([]);
  });

  it('end when it was read, and nothing of the host was in it', async () => {
    line.isHeldUp = true;
    await pass(10 * LEASE_MS);
    line.catchUp();
    await pass(1_000);
    expect(recorded).toEqual([`${HOST} leaseExpired`]);
  });

  it('are whole for a new owner, who may have been frozen', async () => {
    owned = false;
    await pass(LEASE_MS - 1_000);
    owned = true;
    gain();
    await pass(LEASE_MS - 500);
    expect(recorded).toEqual([]);
    await pass(1_500);
    expect(recorded).toEqual([`${HOST} leaseExpired`]);
  });
});
