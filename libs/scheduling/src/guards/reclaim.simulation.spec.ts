import fc from 'fast-check';
import { gatesAfter, OPEN_GATES } from './gates';
import { reclaim, RECLAIM_IDLE, type ReclaimCandidate } from './reclaim';

const USABLE = 1_000;
const LOOK_MS = 250;
const MINUTE_MS = 60_000;
/** How long the kernel takes to free what an ended process held. */
const EXIT_MS = 500;

interface Guest extends ReclaimCandidate {
  /** MiB it touches per second until it has all its memory. */
  growth: number;
  endsAtMs?: number;
}

/**
 * A host and its guests, step by step: guests grow, the decider looks at the host, balloons shrink the idle ones, ended ones free
 * their memory a while later. The kernel's OOM killer would act the moment more is touched than there is.
 */
function run(guests: Guest[]): { kernelKilled: boolean; ended: Guest[]; guests: Guest[]; gatesShut: number } {
  let alive = guests;
  const ended: Guest[] = [];
  let state = RECLAIM_IDLE;
  let gates = OPEN_GATES;
  let gatesShut = 0;
  for (let at = 0; at < MINUTE_MS; at += LOOK_MS) {
    for (const one of alive) {
      if (one.isLeaving) continue;
      const most = one.memoryMiB - (one.balloonMiB ?? 0);
      one.residentMiB = Math.min(most, one.residentMiB + (one.growth * LOOK_MS) / 1_000);
      one.idleMs = one.growth > 0 && one.residentMiB < most ? 0 : (one.idleMs ?? 0) + LOOK_MS;
    }
    for (const one of alive) if (one.endsAtMs !== undefined && one.endsAtMs <= at) ended.push(one);
    alive = alive.filter((one) => !ended.includes(one));
    const usedMiB = alive.reduce((sum, { residentMiB }) => sum + residentMiB, 0);
    if (usedMiB > USABLE) return { kernelKilled: true, ended, guests: alive, gatesShut };
    const availableMiB = USABLE - usedMiB;
    const reading = {
      ...{ cpuPressure: 0, memoryPressure: 0, vcpuWait: null, usableMiB: USABLE, availableMiB },
      availableMemory: (100 * availableMiB) / USABLE,
    };
    const next = gatesAfter(gates, reading, at);
    if (gates.bestEffort.open && !next.bestEffort.open) gatesShut++;
    gates = next;
    const { state: after, actions } = reclaim(state, reading, alive, at);
    state = after;
    for (const { step, microvmId, mib } of actions) {
      const one = alive.find((guest) => guest.microvmId === microvmId)!;
      if (step === 'balloon' || step === 'deflate') one.balloonMiB = mib;
      else Object.assign(one, { isLeaving: true, endsAtMs: at + EXIT_MS });
    }
  }
  return { kernelKilled: false, ended, guests: alive, gatesShut };
}

const guest = fc.record({
  class: fc.constantFrom('guaranteed' as const, 'bestEffort' as const),
  growth: fc.integer({ min: 0, max: 15 }),
  hasBalloon: fc.boolean(),
  canSuspend: fc.boolean(),
  memoryMiB: fc.integer({ min: 64, max: 600 }),
});

const fleet = fc.array(guest, { minLength: 1, maxLength: 16 }).map((wanted) => {
  let guaranteedMiB = 0;
  return wanted.map(({ hasBalloon, ...one }, i): Guest => {
    // Of the guaranteed, no more than there is memory for: that is what the ratio of their class is for.
    const isGuaranteed = one.class === 'guaranteed' && guaranteedMiB + one.memoryMiB <= USABLE * 0.85;
    if (isGuaranteed) guaranteedMiB += one.memoryMiB;
    return {
      ...one,
      ...{ class: isGuaranteed ? 'guaranteed' : 'bestEffort', microvmId: `m${i}`, residentMiB: 8 },
      ...{ balloonMiB: hasBalloon ? 0 : undefined, idleMs: 0, isLeaving: false },
    };
  });
});

describe('a host whose guests grow beyond it', () => {
  it('ends best effort in time: the kernel never has to, and no guaranteed one is touched', () => {
    fc.assert(
      fc.property(fleet, (guests) => {
        const { kernelKilled, ended } = run(structuredClone(guests));
        expect(kernelKilled).toBe(false);
        for (const one of ended) expect(one.class).toBe('bestEffort');
      }),
      { numRuns: 300 },
    );
  });

  it('ends nobody where there is enough', () => {
    fc.assert(
      fc.property(fleet, (guests) => {
        const all = guests.reduce((sum, { memoryMiB }) => sum + memoryMiB, 0);
        fc.pre(all <= USABLE * 0.85);
        expect(run(structuredClone(guests)).ended).toEqual([]);
      }),
    );
  });

  it('shuts its gate before it ends anybody', () => {
    const grower = (i: number): Guest => ({
      ...{ microvmId: `m${i}`, class: 'bestEffort', growth: 10, memoryMiB: 400, residentMiB: 8 },
      ...{ balloonMiB: undefined, idleMs: 0, canSuspend: false, isLeaving: false },
    });
    const { ended, gatesShut } = run(Array.from({ length: 6 }, (_, i) => grower(i)));
    expect(ended.length).toBeGreaterThan(0);
    expect(gatesShut).toBeGreaterThan(0);
  });
});
