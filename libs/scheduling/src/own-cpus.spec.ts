import fc from 'fast-check';
import { ownCpus } from './own-cpus';

const NONE = new Map<string, number>();

describe('CPUs of their own', () => {
  it('given as many CPUs as vCPUs or more, then each has one, the last ones first', () => {
    expect(ownCpus(['a', 'b'], [0, 1, 2, 3], NONE)).toEqual(
      new Map([
        ['a', 3],
        ['b', 2],
      ]),
    );
  });

  it('given more vCPUs than CPUs, then nobody has one', () => {
    expect(ownCpus(['a', 'b', 'c'], [0, 1], NONE)).toBeUndefined();
  });

  it('given one that has left, then the others stay where they are and the next gets its place', () => {
    const before = ownCpus(['a', 'b'], [0, 1], NONE)!;
    expect(ownCpus(['b', 'c'], [0, 1], before)).toEqual(
      new Map([
        ['b', 0],
        ['c', 1],
      ]),
    );
  });

  it('given a CPU that is not there any more, then who had it moves', () => {
    expect(ownCpus(['a'], [0, 1], new Map([['a', 7]]))).toEqual(new Map([['a', 1]]));
  });

  it('never gives one CPU twice, and moves nobody without need', () => {
    const vcpu = fc.integer({ min: 0, max: 30 });
    fc.assert(
      fc.property(fc.uniqueArray(vcpu), fc.uniqueArray(vcpu), fc.uniqueArray(fc.nat(40)), (first, then, cpus) => {
        const before = ownCpus(first, cpus, new Map());
        const after = ownCpus(then, cpus, before ?? new Map());
        if (!after) return expect(then.length).toBeGreaterThan(cpus.length);
        expect(new Set(after.values()).size).toBe(then.length);
        for (const one of then) {
          expect(cpus).toContain(after.get(one));
          if (before?.has(one)) expect(after.get(one)).toBe(before.get(one));
        }
      }),
    );
  });
});
