import * as fc from 'fast-check';
import { partitionOwners } from './partition-owners';

const names = fc.uniqueArray(fc.stringMatching(/^[a-z0-9-]{1,20}$/), { minLength: 1, maxLength: 8 });

describe('partition owners', () => {
  it('does not depend on the order in which members are known', () => {
    fc.assert(
      fc.property(names, (members) => {
        expect(partitionOwners([...members].reverse(), 64)).toEqual(partitionOwners(members, 64));
      }),
    );
  });

  it('moves nothing but the share of a member that comes or goes', () => {
    fc.assert(
      fc.property(names, (members) => {
        const [gone, ...rest] = members as [string, ...string[]];
        const before = partitionOwners(members, 64);
        const after = partitionOwners(rest, 64);
        before.forEach((owner, partition) => {
          if (owner !== gone) expect(after[partition]).toBe(owner);
        });
      }),
    );
  });

  it('gives each of a few replicas a fair share', () => {
    for (const count of [2, 3, 5]) {
      const members = Array.from({ length: count }, (_, i) => `controller-${i + 1}`);
      const owners = partitionOwners(members, 64);
      for (const member of members) {
        const share = owners.filter((owner) => owner === member).length;
        expect(share).toBeGreaterThan(64 / count / 2.5);
      }
    }
  });

  it('owns nothing without members', () => {
    expect(partitionOwners([], 2)).toEqual([undefined, undefined]);
  });
});
