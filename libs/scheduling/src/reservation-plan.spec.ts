import { ReservationPlan } from './reservation-plan';
import { seededNumbers } from './seeded-numbers';

/** Windows in which each vCPU uses so much of a CPU. */
function windows<Vcpu>(plan: ReservationPlan<Vcpu>, count: number, use: (vcpu: Vcpu) => number): Set<Vcpu> {
  let reserved = new Set<Vcpu>();
  for (let i = 0; i < count; i++) reserved = plan.round(new Map(plan.watched.map((vcpu) => [vcpu, use(vcpu)])));
  return reserved;
}

function planOf(cpus: number, ...vcpus: string[]): ReservationPlan<string> {
  const plan = new ReservationPlan<string>(cpus);
  for (const vcpu of vcpus) plan.add(vcpu);
  return plan;
}

describe('reservations of CPU time', () => {
  it('given a vCPU that needs little, then it has some after three calm windows', () => {
    const plan = planOf(2, 'a');
    expect(windows(plan, 2, () => 0.05)).toEqual(new Set());
    expect(windows(plan, 1, () => 0.05)).toEqual(new Set(['a']));
    expect(plan.share).toBe(1 / 2);
  });

  it('given one that computes, then it never has', () => {
    expect(windows(planOf(2, 'a', 'b'), 1_000, (vcpu) => (vcpu === 'a' ? 1 : 0.1))).toEqual(new Set(['b']));
  });

  it('given one that begins to compute, then it loses it at once, and must be calm for twice as long each time', () => {
    const plan = planOf(2, 'a');
    const calmUntilReserved = (): number => {
      for (let count = 1; ; count++) if (windows(plan, 1, () => 0.1).has('a')) return count;
    };
    const taken: number[] = [];
    for (let i = 0; i < 9; i++) {
      taken.push(calmUntilReserved());
      expect(windows(plan, 1, () => 0.9)).toEqual(new Set());
    }
    expect(taken).toEqual([3, 6, 12, 24, 48, 96, 192, 300, 300]);
    windows(plan, 300 + 120, () => 0.1);
    windows(plan, 1, () => 0.9);
    expect(calmUntilReserved()).toBe(6);
  });

  it('given use between what is calm and what is reserved, then who has it keeps it, and who has not gets none', () => {
    const plan = planOf(2, 'a');
    expect(windows(plan, 100, () => 0.45)).toEqual(new Set());
    windows(plan, 3, () => 0.1);
    expect(windows(plan, 100, () => 0.45)).toEqual(new Set(['a']));
  });

  it('given more vCPUs, then each has less, down to a sixteenth, and those that came last wait for a place', () => {
    const plan = new ReservationPlan<number>(2);
    const shares: number[] = [];
    for (let i = 0; i < 20; i++) {
      plan.add(i);
      shares.push(1 / plan.share);
    }
    expect(shares).toEqual([2, 2, 4, 4, 8, 8, 8, 8, ...Array<number>(12).fill(16)]);
    expect(windows(plan, 5, () => 0.01).size).toBe(16);
    plan.remove(3);
    expect(windows(plan, 3, () => 0.01)).toContain(16);
    expect(new ReservationPlan<number>(2).share).toBe(0);
  });

  it('given that it was not measured, then it stays as it is', () => {
    const plan = planOf(2, 'a', 'b');
    windows(plan, 3, () => 0.1);
    expect(plan.round(new Map())).toEqual(new Set(['a', 'b']));
    plan.remove('a');
    expect(plan.round(new Map())).toEqual(new Set(['b']));
  });

  it('given whatever guests do, then never more than half of the CPUs is reserved', () => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = seededNumbers(seed);
      const below = (bound: number): number => Math.floor(random() * bound);
      const cpus = 1 + below(8);
      const plan = new ReservationPlan<number>(cpus);
      for (let i = 0; i < 300; i++) {
        if (below(3) > 0) plan.add(i);
        else plan.remove(below(i + 1));
        const reserved = plan.round(new Map(plan.watched.map((vcpu) => [vcpu, below(100) / 400])));
        expect(reserved.size * plan.share).toBeLessThanOrEqual(cpus / 2);
      }
    }
  });
});
