import { KeyedQueue } from './keyed-queue';
import { Pacer } from './pacer';

describe('pacer', () => {
  it('lets no more in than there are places, first come first served', async () => {
    const pacer = new Pacer(2);
    const order: number[] = [];
    let inside = 0;
    await Promise.all(
      [1, 2, 3, 4, 5].map(async (n) => {
        const permit = await pacer.acquire();
        order.push(n);
        expect(++inside).toBeLessThanOrEqual(2);
        await new Promise(setImmediate);
        inside--;
        permit();
        permit(); // given back twice is given back once
      }),
    );
    expect(order).toEqual([1, 2, 3, 4, 5]);
  });

  it('lets go of those who give up waiting', async () => {
    const pacer = new Pacer(1);
    const permit = await pacer.acquire();
    const cancel = new AbortController();
    const given = pacer.acquire(cancel.signal);
    const next = pacer.acquire();
    cancel.abort(new Error('enough'));
    await expect(given).rejects.toThrow('enough');
    permit();
    (await next)();
    await expect(pacer.acquire(cancel.signal)).rejects.toThrow('enough');
    expect(pacer.waiting).toBe(0);
  });
});

describe('keyed queue', () => {
  it('does the jobs of a key in order, also after one that failed, and keys side by side', async () => {
    const queue = new KeyedQueue();
    const done: string[] = [];
    const job = (name: string, turns: number) => async () => {
      for (let i = 0; i < turns; i++) await new Promise(setImmediate);
      done.push(name);
    };
    const failing = queue.run('a', () => Promise.reject(new Error('oh')));
    void queue.run('a', job('a1', 5));
    void queue.run('a', job('a2', 0));
    void queue.run('b', job('b1', 1));
    await expect(failing).rejects.toThrow('oh');
    await queue.settled();
    expect(done).toEqual(['b1', 'a1', 'a2']);
  });
});
