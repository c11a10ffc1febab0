import pino from 'pino';
import { HostClassSettings } from '#protocol';
import { Admission, type MicrovmUsage } from '#scheduling';
import { RatioKeeper } from './ratio-keeper';

const capacity = { slots: 100, cpus: 2, memoryMiB: 1_000, reserveMiB: 0, overcommit: { cpu: 10, memory: 10 } };
const log = pino({ level: 'silent' });

/** By what they look at, the windows that agents on one host have kept. */
type Seen = Map<string, MicrovmUsage[][]>;

/** `seen`: of earlier agents on this host; this one adds to it. */
function keeperOf(settings: unknown, seen: Seen = new Map()) {
  const clock = { ms: 0 };
  const admission = new Admission(capacity);
  const promisedTo = (id: string) => (id === 'gone' ? undefined : { vcpus: 1, memoryMiB: 200 });
  const memory = {
    recall: (look: unknown) => seen.get(JSON.stringify(look)) ?? [],
    keep: (look: unknown, usages: readonly MicrovmUsage[]) => {
      seen.set(JSON.stringify(look), [...memory.recall(look), [...usages]]);
      return Promise.resolve();
    },
  };
  const parts = { admission, log, promisedTo, memory, nowMs: () => clock.ms };
  const keeper = new RatioKeeper(parts, 'dense', HostClassSettings.parse(settings));
  /** A second of a guest that wants a tenth of a CPU, and waits for a tenth of that. */
  const second = (id = 'a') => {
    clock.ms += 1_000;
    const runNs = clock.ms * 90_000;
    keeper.round([{ id, epoch: 1, runNs, delayNs: clock.ms * 10_000, proportionalKiB: 50 * 1_024 }]);
  };
  return { admission, keeper, second };
}

describe('the ratio of a host class', () => {
  it('given a fixed one, then admission has it from the beginning, with what may be guaranteed', () => {
    const guaranteed = { cpu: 2, memory: 1 };
    const { admission, keeper } = keeperOf({ policy: { kind: 'fixedRatio', cpu: 8, memory: 3 }, guaranteed });
    expect(admission.capacity.overcommit).toEqual({ cpu: 8, memory: 3, guaranteed });
    expect(keeper.inForce).toMatchObject({
      hostClass: 'dense',
      cpu: 8,
      memory: 3,
      why: 'fixed: 8 of CPU and 3 of memory',
    });
  });

  it('given a predicted peak, when enough windows were seen, then admission has what is left beside it', () => {
    const policy = { kind: 'predictedPeak', windowSeconds: 2, windows: 3 };
    const { admission, keeper, second } = keeperOf({ policy });
    admission.request('a', { vcpus: 1, memoryMiB: 200, tenant: 't', coresidency: { mode: 'shared', neverWith: [] } });
    expect(admission.capacity.overcommit).toMatchObject({ cpu: 1, memory: 1 });
    for (let i = 0; i < 5; i++) second();
    expect(keeper.inForce).toMatchObject({ cpu: 1, windows: 2 });
    second();
    expect(keeper.inForce.windows).toBe(3);
    expect(admission.capacity.overcommit.cpu).toBeCloseTo((2 + 1 - 0.1) / 2);
    expect(admission.capacity.overcommit.memory).toBeCloseTo((1_000 + 200 - 50) / 1_000);
  });

  it('given another policy, then it holds at once, and what was seen counts for one that looks at the same', () => {
    const look = { windowSeconds: 2, windows: 3 };
    const { admission, keeper, second } = keeperOf({ policy: { kind: 'predictedPeak', ...look } });
    for (let i = 0; i < 6; i++) second();
    const goBy = (hostClass: string, policy: object): void =>
      keeper.goBy(hostClass, HostClassSettings.parse({ policy }));
    goBy('bold', { kind: 'predictedPeak', ...look, sigmas: 1 });
    expect(keeper.inForce).toMatchObject({ hostClass: 'bold', windows: 3 });
    goBy('plain', { kind: 'fixedRatio', cpu: 3, memory: 2 });
    expect(admission.capacity.overcommit).toEqual({ cpu: 3, memory: 2 });
    goBy('bold', { kind: 'predictedPeak', ...look, windows: 4 });
    expect(keeper.inForce).toMatchObject({ cpu: 1, windows: 0 });
    goBy('bold', { kind: 'predictedPeak', ...look });
    expect(keeper.inForce).toMatchObject({ windows: 3 });
  });

  it('given another agent on the same host, then it goes on with what was seen, as soon as it knows what is promised', () => {
    const policy = { kind: 'predictedPeak', windowSeconds: 2, windows: 3 };
    const seen: Seen = new Map();
    const before = keeperOf({ policy }, seen);
    for (let i = 0; i < 6; i++) before.second();
    const { admission, keeper } = keeperOf({ policy }, seen);
    expect(keeper.inForce).toMatchObject({ windows: 3, cpu: 1 });
    admission.request('a', { vcpus: 1, memoryMiB: 200, tenant: 't', coresidency: { mode: 'shared', neverWith: [] } });
    keeper.derive();
    expect(admission.capacity.overcommit.cpu).toBeCloseTo((2 + 1 - 0.1) / 2);
    expect(admission.capacity.overcommit.memory).toBeCloseTo((1_000 + 200 - 50) / 1_000);
  });

  it('given one that is not there any more, then it is no part of the next window', () => {
    const { keeper, second } = keeperOf({ policy: { kind: 'predictedPeak', windowSeconds: 2, windows: 3 } });
    for (let i = 0; i < 6; i++) second('gone');
    expect(keeper.inForce.why).toContain('predicted peak of 3 windows: 0 (5 sigma 0, p99 0) of 2 CPUs');
  });
});
