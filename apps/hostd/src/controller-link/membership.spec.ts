import pino from 'pino';
import { heartbeat, OperationError, registerHost, type HostDescription } from '#protocol';
import { Membership } from './membership';

type Answer = object | Error;

describe('membership', () => {
  let membership: Membership;
  const calls: string[] = [];
  const renewals: [number, number][] = [];
  let answers: { register: () => Answer; heartbeat: () => Answer };
  let reached = 0;

  const registered = { state: 'ready', leaseMs: 1_000, heartbeatMs: 5 };
  const bus = {
    call: async (operation: unknown): Promise<never> => {
      const name = operation === registerHost ? 'register' : operation === heartbeat ? 'heartbeat' : 'other';
      calls.push(name);
      await new Promise(setImmediate);
      const answer = answers[name as 'register' | 'heartbeat']();
      if (answer instanceof Error) throw answer;
      return answer as never;
    },
  };

  beforeEach(() => {
    calls.length = 0;
    renewals.length = 0;
    reached = 0;
    let clock = 0;
    answers = { register: () => registered, heartbeat: () => ({ unknown: false, leaseMs: 2_000 }) };
    membership = new Membership({
      bus: bus as never,
      lease: { now: () => ++clock, renew: (sentAt, leaseMs) => void renewals.push([sentAt, leaseMs]) },
      describe: () => ({ hostId: 'h' }) as HostDescription,
      inventory: () => [],
      now: () => 0,
      log: pino({ level: 'silent' }),
      onReached: () => void reached++,
    });
  });
  afterEach(() => membership.stop());

  async function until(condition: () => boolean): Promise<void> {
    const deadline = performance.now() + 60_000;
    while (!condition()) {
      if (performance.now() > deadline) throw new Error(`never; calls: ${calls.join(' ')}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  it('registers, then renews the lease from the moment each heartbeat was sent', async () => {
    membership.start();
    await until(() => renewals.length >= 3);
    expect(calls.slice(0, 3)).toEqual(['register', 'heartbeat', 'heartbeat']);
    expect(renewals.slice(0, 3)).toEqual([
      [1, 1_000],
      [2, 2_000],
      [3, 2_000],
    ]);
    expect(reached).toBe(1);
  });

  it('tries until a controller answers', async () => {
    let failures = 2;
    answers.register = () => (failures-- > 0 ? new OperationError('unavailable', 'nobody') : registered);
    membership.start();
    await until(() => membership.registered);
    expect(calls.filter((name) => name === 'register')).toHaveLength(3);
    expect(renewals[0]![0]).toBe(3);
  });

  it('registers again when it is not known any more, and when the connection is back', async () => {
    let unknown = true;
    answers.heartbeat = () => {
      const answer = { unknown, leaseMs: 2_000 };
      unknown = false;
      return answer;
    };
    membership.start();
    await until(() => calls.length >= 4);
    expect(calls.slice(0, 4)).toEqual(['register', 'heartbeat', 'register', 'heartbeat']);
    expect(renewals.every(([sentAt]) => sentAt !== 2)).toBe(true);
    const before = calls.filter((name) => name === 'register').length;
    membership.reconnected();
    await until(() => calls.filter((name) => name === 'register').length > before);
  });

  it('does not take the answer to a registration from before a loss of connection', async () => {
    answers.register = () => {
      if (calls.length === 1) membership.reconnected();
      return registered;
    };
    membership.start();
    await until(() => membership.registered);
    expect(calls.slice(0, 2)).toEqual(['register', 'register']);
  });

  it('goes on with heartbeats when one fails', async () => {
    let fail = true;
    answers.heartbeat = () => {
      const answer = fail ? new OperationError('timeout', 'late') : { unknown: false, leaseMs: 2_000 };
      fail = false;
      return answer;
    };
    membership.start();
    await until(() => renewals.length >= 2);
    expect(calls.slice(0, 3)).toEqual(['register', 'heartbeat', 'heartbeat']);
    expect(reached).toBe(2);
  });
});
