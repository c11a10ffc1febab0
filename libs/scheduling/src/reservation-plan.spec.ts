import { CALM_LOOKS, ReservationPlan } from './reservation-plan';
import { seededNumbers } from './seeded-numbers';

/** Looks at vCPUs of which each has used so much of a CPU. */
function looks<Vcpu>(plan: ReservationPlan<Vcpu>, count: number, use: (vcpu: Vcpu) => number): Set<Vcpu> {
  let reserved = new Set<Vcpu>();
  for (let i = 0; i < count; i++) reserved = plan.look(new Map(plan.watched.map((vcpu) => [vcpu, use(vcpu)])));
  return reserved;
}

function planOf(cpus: number, ...vcpus: string[]): ReservationPlan<string> {
  const plan = new ReservationPlan<string>(cpus);
  for (const vcpu of vcpus) plan.add(vcpu);
  return plan;
}

describe('reservations of CPU time', () => {
  it('given a vCPU that needs little, then it has some once it has been calm for a while', () => {
    const plan = planOf(2, 'a');
    expect(looks(plan, CALM_LOOKS - 1, () => 0.05)).toEqual(new Set());
    expect(looks(plan, 1, () => 0.05)).toEqual(new Set(['a']));
    expect(plan.share).toBe(1 / 2);
  });

  it('given one that computes, then it never has', () => {
    expect(looks(planOf(2, 'a', 'b'), 1_000, (vcpu) => (vcpu === 'a' ? 1 : 0.1))).toEqual(new Set(['b']));
  });

  it('given one that begins to compute, then it gives it back before it is used up, and gets it again when it was calm for as long', () => {
    const plan = planOf(2, 'a');
    looks(plan, CALM_LOOKS, () => 0.1);
    expect(looks(plan, 1, () => 0.4)).toEqual(new Set(['a']));
    expect(looks(plan, 1, () => 0.41)).toEqual(new Set());
    expect(looks(plan, CALM_LOOKS - 1, () => 0.1)).toEqual(new Set());
    expect(looks(plan, 1, () => 0.1)).toEqual(new Set(['a']));
  });

  it('given more vCPUs, then each has less, and those that came last wait for a place', () => {
    const plan = new ReservationPlan<number>(2);
    const shares: number[] = [];
    for (let i = 0; i < 6; i++) {
      plan.add(i);
      shares.push(1 / plan.share);
    }
    expect(shares).toEqual([2, 2, 4, 4, 4, 4]);
    expect(looks(plan, CALM_LOOKS, () => 0.01)).toEqual(new Set([0, 1, 2, 3]));
    plan.remove(2);
    expect(looks(plan, CALM_LOOKS, () => 0.01)).toEqual(new Set([0, 1, 3, 4]));
    expect(new ReservationPlan<number>(2).share).toBe(0);
  });

  it('given that it was not measured, then it stays as it is', () => {
    const plan = planOf(2, 'a', 'b');
    looks(plan, CALM_LOOKS, () => 0.1);
    expect(plan.look(new Map())).toEqual(new Set(['a', 'b']));
    plan.remove('a');
    expect(plan.look(new Map())).toEqual(new Set(['b']));
  });

  it('given that nobody looked for too long, then nobody has any, and all must be calm for a while anew', () => {
    const plan = planOf(2, 'a', 'b');
    looks(plan, CALM_LOOKS, () => 0.1);
    plan.forget();
    expect(plan.watched).toEqual(['a', 'b']);
    expect(looks(plan, CALM_LOOKS - 1, () => 0.1)).toEqual(new Set());
    expect(looks(plan, 1, () => 0.1)).toEqual(new Set(['a', 'b']));
  });

  it('given whatever guests do, then never more than half of the CPUs is reserved', () => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = seededNumbers(seed);
      const below = (bound: number): number => Math.floor(random() * bound);
      const cpus = 1 + below(8);
      const plan = new ReservationPlan<number>(cpus);
      for (let i = 0; i < 2_000; i++) {
        const change = below(40);
        if (change === 0) plan.remove(below(i + 1));
        else if (change < 3) plan.add(i);
        const reserved = plan.look(new Map(plan.watched.map((vcpu) => [vcpu, below(100) === 0 ? 0.9 : 0.05])));
        expect(reserved.size * plan.share).toBeLessThanOrEqual(cpus / 2);
      }
    }
  });
});
