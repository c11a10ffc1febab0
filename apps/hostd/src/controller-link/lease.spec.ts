import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Lease } from './lease';

describe('lease', () => {
  let directory: string;
  let now = 1_000;
  let ends = 0;
  const make = (bootId = 'boot-1') =>
    new Lease({ path: join(directory, 'lease'), bootId, nowMs: () => now, onEnd: () => void ends++ });

  beforeEach(() => {
    jest.useFakeTimers();
    directory = mkdtempSync(join(tmpdir(), 'volley-lease-'));
    now = 1_000;
    ends = 0;
  });
  afterEach(() => {
    jest.useRealTimers();
    rmSync(directory, { recursive: true, force: true });
  });
  const pass = (ms: number): void => {
    now += ms;
    jest.advanceTimersByTime(ms);
  };

  it('is not held before the first renewal', () => {
    const lease = make();
    expect(lease.held()).toBe(false);
    lease.watch();
    expect(ends).toBe(1);
  });

  it('counts from the moment the renewal was sent, and ends once', () => {
    const lease = make();
    const sentAt = lease.now();
    pass(400);
    lease.renew(sentAt, 1_000);
    lease.watch();
    pass(599);
    expect(lease.held()).toBe(true);
    expect(ends).toBe(0);
    pass(2);
    expect(lease.held()).toBe(false);
    expect(ends).toBe(1);
    lease.renew(lease.now(), 1_000);
    expect(lease.held()).toBe(true);
  });

  it('is what the renewal that was sent last says, whichever answer comes last', () => {
    const lease = make();
    lease.renew(1_000, 5_000);
    lease.renew(900, 1_000);
    pass(4_000);
    expect(lease.held()).toBe(true);
    lease.renew(lease.now(), 10);
    pass(11);
    expect(lease.held()).toBe(false);
  });

  it('outlives the agent, but not the boot', () => {
    make().renew(1_000, 1_000);
    expect(make().held()).toBe(true);
    expect(make('boot-2').held()).toBe(false);
    now = 3_000;
    const late = make();
    late.watch();
    expect(ends).toBe(1);
    writeFileSync(join(directory, 'lease'), 'rubbish');
    expect(make().held()).toBe(false);
  });
});
