import { EventEmitter } from 'node:events';
import type { Microvm, MicrovmStateName } from '#protocol';
import type { Fleet } from '../fleet/fleet';
import { MicrovmWaiter } from './microvm-waiter';

const at = (revision: number, state: MicrovmStateName, reason: string | null = null) =>
  ({ id: 'm', revision, state, reason, timings: {} }) as unknown as Microvm;

/** A fleet of one microVM that a test moves on by hand. */
class FakeFleet {
  readonly #changed = new EventEmitter();
  constructor(public now: Microvm) {}
  microvm = () => this.now;
  moves(to: Microvm): void {
    this.now = to;
    this.#changed.emit('change');
  }
  waiting = 0;
  waitForMicrovm = (_id: string, satisfied: (microvm: Microvm) => boolean, ms: number, signal: AbortSignal) => {
    if (satisfied(this.now)) return Promise.resolve(this.now);
    if (signal.aborted) return Promise.resolve(undefined);
    this.waiting++;
    return new Promise<Microvm | undefined>((resolve) => {
      const done = (microvm?: Microvm): void => {
        clearTimeout(timer);
        this.#changed.removeAllListeners();
        this.waiting--;
        resolve(microvm);
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', () => done());
      this.#changed.on('change', () => satisfied(this.now) && done(this.now));
    });
  };
}

describe('MicrovmWaiter', () => {
  const begin = (fleet: FakeFleet, accepted: Microvm, target: MicrovmStateName = 'running', timeoutMs = 60_000) => {
    const [shutdown, client] = [new AbortController(), new AbortController()];
    const waiter = new MicrovmWaiter(fleet as unknown as Fleet, shutdown.signal);
    return { result: waiter.wait(target, accepted, timeoutMs, client.signal), shutdown, client };
  };

  it('does not judge by what was before the command', async () => {
    const fleet = new FakeFleet(at(4, 'stopped')); // this process has not seen the start yet
    const { result } = begin(fleet, at(5, 'placing'));
    fleet.moves(at(5, 'placing'));
    fleet.moves(at(7, 'running'));
    expect(await result).toEqual({ microvm: at(7, 'running'), reached: true });
  });

  it('gives the newest it knows when time is up', async () => {
    expect(await begin(new FakeFleet(at(6, 'starting')), at(5, 'placing'), 'running', 5).result).toEqual({
      microvm: at(6, 'starting'),
      reached: false,
    });
    expect(await begin(new FakeFleet(at(4, 'stopped')), at(5, 'placing'), 'running', 5).result).toEqual({
      microvm: at(5, 'placing'),
      reached: false,
    });
  });

  it('tells that it came to rest elsewhere', async () => {
    const fleet = new FakeFleet(at(5, 'starting'));
    const { result } = begin(fleet, at(5, 'starting'));
    fleet.moves(at(6, 'failed', 'no /dev/kvm'));
    await expect(result).rejects.toMatchObject({
      status: 409,
      message: 'microVM m is failed, not running: no /dev/kvm',
    });
  });

  it('waits for nobody when the client went while the command was on its way', async () => {
    const fleet = new FakeFleet(at(5, 'starting'));
    const waiter = new MicrovmWaiter(fleet as unknown as Fleet, new AbortController().signal);
    const { microvm, reached } = await waiter.wait('running', fleet.now, 60_000, AbortSignal.abort());
    expect({ state: microvm.state, reached, waiting: fleet.waiting }).toEqual({
      state: 'starting',
      reached: false,
      waiting: 0,
    });
  });

  it.each(['client', 'shutdown'] as const)('gives up when it hears of the %s', async (which) => {
    const fleet = new FakeFleet(at(5, 'starting'));
    const { result, client, shutdown } = begin(fleet, at(5, 'starting'));
    expect(fleet.waiting).toBe(1);
    ({ client, shutdown })[which].abort();
    expect(await result).toMatchObject({ reached: false });
    expect(fleet.waiting).toBe(0);
  });
});
