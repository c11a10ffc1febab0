import { connect, type NatsConnection } from 'nats';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import { JournalUnavailableError } from './journal-errors';
import { LiveBucket, type LiveBucketOptions } from './live-bucket';

const OPTIONS: LiveBucketOptions<number> = {
  name: 'numbers',
  decode: (json) => {
    if (typeof json !== 'number') throw new TypeError('not a number');
    return json;
  },
};

describeWithNats('a bucket held in memory', () => {
  let server: NatsServer;
  let connections: NatsConnection[];
  const open: LiveBucket<number>[] = [];

  beforeEach(async () => {
    server = await startNatsServer();
    const connecting = () => connect({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
    connections = await Promise.all([connecting(), connecting()]);
  });
  afterEach(async () => {
    for (const bucket of open.splice(0)) bucket.close();
    await Promise.all(connections.map((nc) => nc.close()));
    await server.stop();
  });

  async function opened(by: 0 | 1, options: Partial<LiveBucketOptions<number>> = {}): Promise<LiveBucket<number>> {
    const bucket = await LiveBucket.open(connections[by]!, { ...OPTIONS, ...options });
    open.push(bucket);
    return bucket;
  }
  const pair = () => Promise.all([opened(0), opened(1)]);
  const shows = (bucket: LiveBucket<number>, key: string, value: number | undefined): Promise<void> =>
    new Promise((resolve) => {
      const off = bucket.onChange(look);
      function look(): void {
        if (bucket.get(key) !== value) return;
        off();
        resolve();
      }
      look();
    });

  it('shows a change to its writer at once, to others a moment later, and to who opens it then', async () => {
    const [mine, theirs] = await pair();
    const told: [string, number | undefined][] = [];
    theirs.onChange((key, value) => told.push([key, value]));
    await mine.update('a', () => 1);
    expect(mine.get('a')).toBe(1);
    await mine.update('b', () => 2);
    await mine.update('a', () => undefined);
    expect(mine.get('a')).toBeUndefined();
    await theirs.current(5_000);
    expect(told).toEqual([
      ['a', 1],
      ['b', 2],
      ['a', undefined],
    ]);
    const late = await opened(1);
    expect([...late.values()]).toEqual([2]);
    expect(late.keyWhere((value) => value === 2)).toBe('b');
    expect(late.keyWhere((value) => value === 1)).toBeUndefined();
  });

  it('asks the server for what it has not seen yet', async () => {
    const [mine, theirs] = await pair();
    theirs.close();
    await mine.update('a', () => 1);
    expect(theirs.get('a')).toBeUndefined();
    expect(await theirs.find('a')).toBe(1);
    expect(await theirs.find('b')).toBeUndefined();
  });

  it('loses no change of those who write at once', async () => {
    const [mine, theirs] = await pair();
    const increments = Array.from({ length: 20 }, (_, n) =>
      [mine, theirs][n % 2]!.update('count', (now = 0) => now + 1),
    );
    await Promise.all(increments);
    await Promise.all([mine, theirs].map((bucket) => shows(bucket, 'count', 20)));
  });

  it('catches up with what came and went while the server was away, and tells of it', async () => {
    const [mine, theirs] = await pair();
    await mine.update('goes', () => 1);
    await mine.update('stays', () => 2);
    await shows(theirs, 'stays', 2);
    const told = new Map<string, number | undefined>();
    theirs.onChange((key, value) => told.set(key, value));
    await server.restart();
    // Written as soon as one is back, whether or not the other is.
    await mine.update('goes', () => undefined);
    await mine.update('comes', () => 3);
    await shows(theirs, 'comes', 3);
    expect(theirs.get('stays')).toBe(2);
    expect([...told]).toEqual([
      ['goes', undefined],
      ['comes', 3],
    ]);
  });

  it('leaves out what is no value, says so, lets it be put right, and leaves alone what it does not hold', async () => {
    const unreadable: string[] = [];
    const bucket = await opened(0, {
      holds: (key) => key !== 'other',
      onUnreadable: (key) => unreadable.push(key),
    });
    await bucket.update('a', () => 1);
    for (const key of ['a', 'other']) connections[1]!.publish(`$KV.numbers.${key}`, '"text"');
    await connections[1]!.flush();
    await bucket.current(5_000);
    expect(bucket.get('a')).toBeUndefined();
    expect(unreadable).toEqual(['a']);
    await bucket.update('a', (now) => (now === undefined ? 4 : 5));
    expect([...bucket.values()]).toEqual([4]);
  });

  it('cannot be opened on a connection that is closed', async () => {
    await connections[0]!.close();
    await expect(LiveBucket.open(connections[0]!, OPTIONS)).rejects.toBeInstanceOf(JournalUnavailableError);
  });
});
