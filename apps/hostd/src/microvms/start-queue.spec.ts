import { Pacer, type Permit } from '#concurrency';
import type { Answer } from '../journal/host-record';
import type { HostCommand } from './command-rules';
import { StartQueue, type Turn } from './start-queue';

const ACCEPTED: Answer = { accepted: true };
const start = (n: number): HostCommand =>
  ({ type: 'start', commandId: `c${n}`, microvmId: `m${n}`, spec: {} }) as HostCommand;
const turns = (): Promise<void> => new Promise(setImmediate);

describe('the queue in front of admission', () => {
  let pacer: Pacer;
  let queue: StartQueue;
  let clock: number;
  let shells: () => Promise<void>;
  let answer: (turn: Turn) => Promise<Answer>;
  const admitted: { id: string; receivedAt: number | undefined; at: number }[] = [];
  const launching: Permit[] = [];

  beforeEach(() => {
    admitted.length = 0;
    launching.length = 0;
    clock = 0;
    pacer = new Pacer(2);
    shells = () => Promise.resolve();
    answer = (turn) => {
      launching.push(turn.take());
      return Promise.resolve(ACCEPTED);
    };
    queue = new StartQueue({
      manager: {
        command: (command, turn) => {
          admitted.push({ id: command.microvmId, receivedAt: turn?.receivedAt, at: clock });
          return turn ? answer(turn) : Promise.resolve(ACCEPTED);
        },
      },
      pacer,
      slots: { shellReady: () => shells() },
      now: () => clock,
    });
  });

  it('admits as many as are launched at a time, in the order in which they came, and the next when one has booted', async () => {
    const answers = [1, 2, 3, 4].map((n) => queue.command(start(n)));
    await turns();
    expect(admitted.map(({ id }) => id)).toEqual(['m1', 'm2']);
    clock = 7;
    launching[1]!();
    await turns();
    expect(admitted.at(-1)).toEqual({ id: 'm3', receivedAt: 0, at: 7 });
    launching[0]!();
    expect(await Promise.all(answers)).toEqual([ACCEPTED, ACCEPTED, ACCEPTED, ACCEPTED]);
  });

  it('gives the turn of one that is not launched to the next', async () => {
    answer = () => Promise.resolve({ accepted: false, reason: 'no room' });
    for (let n = 0; n < 5; n++) expect(await queue.command(start(n))).toMatchObject({ accepted: false });
    answer = () => Promise.reject(new Error('no lease'));
    for (let n = 0; n < 5; n++) await expect(queue.command(start(n))).rejects.toThrow('no lease');
    expect(admitted).toHaveLength(10);
  });

  it('lets everything else pass', async () => {
    await Promise.all([queue.command(start(1)), queue.command(start(2))]);
    void queue.command(start(3));
    await turns();
    await queue.command({ ...start(4), type: 'erase' } as HostCommand);
    expect(admitted.map(({ id }) => id)).toEqual(['m1', 'm2', 'm4']);
    launching.forEach((permit) => permit());
    await turns();
  });

  it('waits for a shell before it admits, and lets nobody else take that', async () => {
    let ready!: () => void;
    shells = () => new Promise((resolve) => (ready = resolve));
    const answers = [queue.command(start(1)), queue.command(start(2))];
    await turns();
    expect(admitted).toEqual([]);
    ready();
    await answers[0];
    await turns();
    expect(admitted.map(({ id }) => id)).toEqual(['m1']);
    ready();
    await answers[1];
  });

  it('turns away whose turn does not come in time, and all when the agent ends', async () => {
    await Promise.all([queue.command(start(1)), queue.command(start(2))]);
    await expect(queue.command(start(3))).rejects.toMatchObject({ code: 'unavailable' });
    const waiting = [4, 5].map((n) => queue.command(start(n)));
    await turns();
    expect(queue.waiting).toBe(1);
    queue.close();
    for (const one of waiting) await expect(one).rejects.toThrow('shutting down');
    await expect(queue.command(start(6))).rejects.toThrow('shutting down');
    launching.forEach((permit) => permit());
    expect(admitted).toHaveLength(2);
  });
});
