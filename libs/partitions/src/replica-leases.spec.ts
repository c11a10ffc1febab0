import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { connect, type NatsConnection } from 'nats';
import { pino } from 'pino';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import { ReplicaLeases } from './replica-leases';

const logger = pino({ level: 'silent' });
/** Longer than a busy machine lets a process wait. */
const LEASE_MS = 2_000;

describeWithNats('replica leases', () => {
  let server: NatsServer;
  const opened: { leases: ReplicaLeases; nc: NatsConnection }[] = [];
  const children: ChildProcess[] = [];

  beforeAll(async () => void (server = await startNatsServer()));
  afterAll(() => server.stop());
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    for (const { leases, nc } of opened.splice(0)) {
      await leases.leave();
      await nc.close();
    }
  });

  const open = async (bucket: string, id: string, machine = 1) => {
    const nc = await connect({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
    const leases = await ReplicaLeases.open(nc, { bucket, id, machine, leaseMs: LEASE_MS, logger });
    opened.push({ leases, nc });
    return { leases, nc };
  };
  const joined = async (bucket: string, id: string, machine?: number) => {
    const replica = await open(bucket, id, machine);
    await replica.leases.join();
    return replica.leases;
  };
  const ids = (leases: ReplicaLeases) => leases.members.map(({ id }) => id);
  const until = (leases: ReplicaLeases, condition: () => boolean) =>
    new Promise<void>((resolve) => {
      if (condition()) return resolve();
      const off = leases.onChange(() => {
        if (!condition()) return;
        off();
        resolve();
      });
    });

  it('tells members of each other, with the machines they know', async () => {
    const a = await joined('both', 'a', 1);
    expect(a.members).toEqual([{ id: 'a', machine: 1 }]);
    const b = await joined('both', 'b', 2);
    expect(ids(b)).toEqual(['a', 'b']); // whoever joins knows who is there
    await until(a, () => a.members.length === 2);
    expect(a.members).toEqual([
      { id: 'a', machine: 1 },
      { id: 'b', machine: 2 },
    ]);
  });

  it('does not wait for the lease of one that leaves', async () => {
    const a = await joined('leaving', 'a');
    const b = await joined('leaving', 'b');
    await until(a, () => a.members.length === 2);
    await b.leave();
    expect([b.holds, ids(b)]).toEqual([false, []]);
    await until(a, () => a.members.length === 1);
    expect(ids(a)).toEqual(['a']);
  });

  it('outlives the server and goes on', async () => {
    const a = await joined('server', 'a');
    await server.kill9();
    await until(a, () => !a.holds);
    expect(ids(a)).toEqual([]);
    await server.restart();
    await until(a, () => a.holds && a.members.length === 1);
  });

  it('lets the newest process of one name have it', async () => {
    const old = await joined('names', 'a');
    const young = await joined('names', 'a');
    await until(old, () => !old.holds);
    expect([old.holds, young.holds, ids(young)]).toEqual([false, true, ['a']]);
  });

  // A process of its own that says a line at each change: members, whether it holds, in the order in which it notices.
  const other = async (bucket: string, id: string) => {
    const child = spawn(
      process.execPath,
      [
        ...['--conditions=jest', '-r', join(__dirname, '../../../test/support/ts-register.cjs')],
        ...[join(__dirname, 'testing/replica.ts'), server.url, bucket, id, String(LEASE_MS)],
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    children.push(child);
    const lines = createInterface({ input: child.stdout });
    const said: string[] = [];
    lines.on('line', (line) => said.push(line));
    const says = async (line: string, from = 0): Promise<void> => {
      while (!said.slice(from).includes(line)) await once(lines, 'line');
    };
    await says('joined');
    return { child, said, says };
  };

  it('takes over from one that was killed, and from one that is frozen, which then knows that it holds nothing', async () => {
    const a = await joined('killing', 'a');
    const b = await other('killing', 'b');
    await until(a, () => a.members.length === 2);
    b.child.kill('SIGSTOP');
    // The others count from its last renewal, which was some time before that: it is to stand still for a whole lease.
    await Promise.all([pause(1.2 * LEASE_MS), until(a, () => a.members.length === 1)]);
    const before = b.said.length;
    b.child.kill('SIGCONT');
    await until(a, () => a.members.length === 2);
    await b.says('a,b', before);
    expect(b.said[before]).toBe('nobody thawing'); // the first thing it noticed
    b.child.kill('SIGKILL');
    await until(a, () => a.members.length === 1);
  });
});
